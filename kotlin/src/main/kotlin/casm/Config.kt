package casm

import casm.ffi.Config as Given
import java.time.Duration as JavaDuration
import kotlin.time.Duration

/**
 * The configuration of a node. Everything can be left out: then nodes of one machine, or
 * one local network, find each other. From Java, [Config.builder] makes one.
 *
 * It is checked when the node starts: what is not acceptable is `CONFIG` or `ADDRESS`.
 */
public data class Config(
    /** The cluster to join; `casm` if it is left out. */
    val namespace: String? = null,
    /**
     * Multiaddrs to listen at; TCP and QUIC (with a [secret] TCP alone) on every interface if
     * there are none.
     */
    val listen: List<String> = listOf(),
    /**
     * Where to look for peers: `auto`, `none`, or addresses such as
     * `/ip4/10.0.0.0/udp/8822/cidr/24`. If it is left out, the variable `CASM_BOOT` says
     * it, or it is `auto`.
     */
    val boot: List<String>? = null,
    /** Where to answer those who look, beside what `boot` implies. */
    val serve: List<String> = listOf(),
    /**
     * Where others reach this node behind a port mapping, such as
     * `/ip4/203.0.113.7/tcp/4001`: told to all, before the addresses that the node finds.
     * If there are none, the variable `CASM_ANNOUNCE` says it.
     */
    val announce: List<String> = listOf(),
    /** Whether nothing but [announce] is told. */
    val announceOnly: Boolean = false,
    /** The name of this host, for others to read; the machine's if it is left out. */
    val host: String? = null,
    /** What others may know and query of this node. */
    val meta: Map<String, String> = mapOf(),
    /**
     * For how long others keep its record without hearing from it, 1 s to 24 h; 10 s if
     * it is left out, or 10 min with low power. Longer in a large cluster, unless [pace] is
     * `fixed`.
     */
    @get:JvmSynthetic val ttl: Duration? = null,
    /** Whether to look on only, without being in the cluster. */
    val observer: Boolean = false,
    /** The folder of what is to outlast the node, such as the peers it knows. */
    val data: String? = null,
    /** The longest pause between two exchanges of peers, 0.1 s to 24 h. */
    @get:JvmSynthetic val pexTick: Duration? = null,
    /**
     * How much the node does of itself: `normal`, or `low` for what runs on a battery;
     * `normal` if it is left out.
     */
    val power: String? = null,
    /**
     * Whether the TTL grows with the cluster, so that all its nodes together stay within the
     * [budget]: `auto`, or `fixed`; `auto` if it is left out.
     */
    val pace: String? = null,
    /**
     * How many heartbeats the whole cluster may send in a second, 1 to 100000; 150 if it is
     * left out. It should be the same for all its nodes.
     */
    val budget: Int? = null,
    /** Limits on what is spent on peers. */
    val limits: Limits? = null,
    /** The node's identity; a fresh one if it is left out. */
    val key: Key? = null,
    /**
     * The pre-shared key of a private cluster: who doesn't hold it learns nothing of it, and
     * QUIC is off. If it is left out, the variable `CASM_SECRET_FILE` names its file, or the
     * cluster is open.
     */
    val secret: Secret? = null,
    /**
     * The ids of the peers that are taken, and no others; of this node it needs none. If
     * there are none, everybody is. See [Admission.allow].
     */
    val allow: List<String> = listOf(),
    /** The ids of peers that are not taken, whether they are allowed or not: see [Admission.deny]. */
    val deny: List<String> = listOf(),
    /**
     * The ids of the authorities whose certificates make a member: who has no valid
     * certificate can't connect, and nothing that it signed is taken. If there are none, no
     * certificates are needed.
     */
    val admit: List<String> = listOf(),
    /** The certificate of this node's [key]; needed with [admit]. */
    val certificate: Certificate? = null,
    /**
     * A file of revocations, which is read again when it changes: whose certificates they
     * take back is put out. One member that has it suffices.
     */
    val revoked: String? = null,
    /** Whether this node relays for peers that nobody else can reach. For a node that others can reach. */
    val relay: Boolean = false,
    /** How much it relays. Only with [relay]. */
    val relayLimits: RelayLimits? = null,
    /**
     * Whether this node, when it can't be reached itself, asks relays among its peers to take
     * what is for it, and tries to get from there to direct connections.
     */
    val useRelays: Boolean = true,
    /** Whether this node asks the network's gateway to let others in, by UPnP. */
    val upnp: Boolean = false,
) {
    internal fun given() =
        Given(
            namespace = namespace,
            listen = listen,
            boot = boot,
            serve = serve,
            announce = announce,
            announceOnly = announceOnly,
            host = host,
            meta = meta,
            ttl = ttl?.toSeconds(),
            observer = observer,
            data = data,
            pexTick = pexTick?.toSeconds(),
            power = power,
            pace = pace,
            budget = budget?.unsigned("budget"),
            limits = limits?.given(),
            key = key?.given,
            secret = secret?.given,
            allow = allow,
            deny = deny,
            admit = admit,
            certificate = certificate?.given,
            revoked = revoked,
            relay = relay,
            relayLimits = relayLimits?.given(),
            useRelays = useRelays,
            upnp = upnp,
        )

    /** Makes a [Config], for Java: `Config.builder().namespace("demo").build()`. */
    public class Builder internal constructor() {
        private var made = Config()

        /** See [Config.namespace]. */
        public fun namespace(name: String): Builder = with { copy(namespace = name) }

        /** See [Config.listen]. */
        public fun listen(vararg addrs: String): Builder = with { copy(listen = addrs.toList()) }

        /** See [Config.boot]. */
        public fun boot(vararg addrs: String): Builder = with { copy(boot = addrs.toList()) }

        /** See [Config.serve]. */
        public fun serve(vararg addrs: String): Builder = with { copy(serve = addrs.toList()) }

        /** See [Config.announce]. */
        public fun announce(vararg addrs: String): Builder = with { copy(announce = addrs.toList()) }

        /** See [Config.announceOnly]. */
        public fun announceOnly(only: Boolean): Builder = with { copy(announceOnly = only) }

        /** See [Config.host]. */
        public fun host(name: String): Builder = with { copy(host = name) }

        /** See [Config.meta]: one more. */
        public fun meta(
            key: String,
            value: String,
        ): Builder = with { copy(meta = meta + (key to value)) }

        /** See [Config.meta]: all of it. */
        public fun meta(all: Map<String, String>): Builder = with { copy(meta = all) }

        /** See [Config.ttl]. */
        public fun ttl(time: JavaDuration): Builder = with { copy(ttl = time.kotlin()) }

        /** See [Config.observer]. */
        public fun observer(only: Boolean): Builder = with { copy(observer = only) }

        /** See [Config.data]. */
        public fun data(folder: String): Builder = with { copy(data = folder) }

        /** See [Config.pexTick]. */
        public fun pexTick(time: JavaDuration): Builder = with { copy(pexTick = time.kotlin()) }

        /** See [Config.power]. */
        public fun power(profile: String): Builder = with { copy(power = profile) }

        /** See [Config.pace]. */
        public fun pace(pace: String): Builder = with { copy(pace = pace) }

        /** See [Config.budget]. */
        public fun budget(heartbeats: Int): Builder = with { copy(budget = heartbeats) }

        /** See [Config.limits]. */
        public fun limits(limits: Limits): Builder = with { copy(limits = limits) }

        /** See [Config.key]. */
        public fun key(key: Key): Builder = with { copy(key = key) }

        /** See [Config.secret]. */
        public fun secret(secret: Secret): Builder = with { copy(secret = secret) }

        /** See [Config.allow]. */
        public fun allow(vararg ids: String): Builder = with { copy(allow = ids.toList()) }

        /** See [Config.deny]. */
        public fun deny(vararg ids: String): Builder = with { copy(deny = ids.toList()) }

        /** See [Config.admit]. */
        public fun admit(vararg ids: String): Builder = with { copy(admit = ids.toList()) }

        /** See [Config.certificate]. */
        public fun certificate(certificate: Certificate): Builder = with { copy(certificate = certificate) }

        /** See [Config.revoked]. */
        public fun revoked(path: String): Builder = with { copy(revoked = path) }

        /** See [Config.relay]. */
        public fun relay(relays: Boolean): Builder = with { copy(relay = relays) }

        /** See [Config.relayLimits]. */
        public fun relayLimits(limits: RelayLimits): Builder = with { copy(relayLimits = limits) }

        /** See [Config.useRelays]. */
        public fun useRelays(uses: Boolean): Builder = with { copy(useRelays = uses) }

        /** See [Config.upnp]. */
        public fun upnp(asks: Boolean): Builder = with { copy(upnp = asks) }

        /** What was said so far. */
        public fun build(): Config = made

        private fun with(change: Config.() -> Config) = apply { made = made.change() }
    }

    public companion object {
        /** To make one from Java. */
        @JvmStatic
        public fun builder(): Builder = Builder()
    }
}
