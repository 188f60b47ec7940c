package casm

import casm.CasmException.Kind
import java.nio.file.Files
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertNotEquals
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.flowOf
import kotlinx.coroutines.withTimeoutOrNull
import org.junit.jupiter.api.Test

/** Every call that takes something, with what is not acceptable: each twice. */
class BadInputTest {
    /** A call, the kind of its error, and what the message names. */
    private class Bad(
        val kind: Kind,
        val named: String,
        val call: suspend () -> Any?,
    )

    private val long = "x".repeat(100_000)
    private val large = ByteArray(2_000_000)
    private val wrong = (-1).seconds

    private fun bad(
        kind: Kind,
        named: String,
        call: suspend () -> Any?,
    ) = Bad(kind, named, call)

    /** Both times the same error, whose message names what was wrong. */
    private suspend fun check(all: List<Bad>) {
        val failures =
            all.withIndex().flatMap { (nth, bad) ->
                List(2) {
                    try {
                        val given = withTimeoutOrNull(PATIENCE / 6) { "gave ${bad.call()}" }
                        given ?: "waits"
                    } catch (error: CasmException) {
                        val right = error.kind == bad.kind && bad.named in error.message.orEmpty()
                        if (right) null else "${error.kind}: ${error.message}"
                    }?.let { said -> "$nth, ${bad.kind} ${bad.named}: $said" }
                }
            }
        assertEquals(listOf(), failures.filterNotNull())
    }

    @Test
    fun `a start names what is not acceptable`() =
        patiently {
            val config = loopback()

            fun relaying(limits: RelayLimits) = config.copy(relay = true, relayLimits = limits)
            check(
                listOf(
                    bad(Kind.CONFIG, "a b") { Node.start(config.copy(namespace = "a b")) },
                    bad(Kind.CONFIG, "ttl") { Node.start(config.copy(ttl = Duration.ZERO)) },
                    bad(Kind.CONFIG, "-1") { Node.start(config.copy(ttl = wrong)) },
                    bad(Kind.CONFIG, "inf") { Node.start(config.copy(pexTick = Duration.INFINITE)) },
                    bad(Kind.CONFIG, "slow") { Node.start(config.copy(pace = "slow")) },
                    bad(Kind.CONFIG, "budget: 0") { Node.start(config.copy(budget = 0)) },
                    bad(Kind.CONFIG, "-1") { Node.start(config.copy(budget = -1)) },
                    bad(Kind.CONFIG, "sleepy") { Node.start(config.copy(power = "sleepy")) },
                    bad(Kind.CONFIG, "svc.x") { Node.start(config.copy(meta = mapOf("svc.x" to "1"))) },
                    bad(Kind.CONFIG, "host") { Node.start(config.copy(host = long)) },
                    bad(Kind.CONFIG, "-1") { Node.start(config.copy(limits = Limits(connections = -1))) },
                    bad(Kind.CONFIG, "memory") { Node.start(config.copy(limits = Limits(memory = -1.0))) },
                    bad(Kind.CONFIG, "-1") { Node.start(config.copy(limits = Limits(rpc = RpcLimits(streams = -1)))) },
                    bad(Kind.CONFIG, "-1") { Node.start(config.copy(limits = Limits(table = TableLimits(records = -1)))) },
                    bad(Kind.CONFIG, "relay.reservations: 0") { Node.start(relaying(RelayLimits(reservations = 0))) },
                    bad(Kind.CONFIG, "relay.reservations: -1") { Node.start(relaying(RelayLimits(reservations = -1))) },
                    bad(Kind.CONFIG, "relay.circuits: 4097") { Node.start(relaying(RelayLimits(circuits = 4097))) },
                    bad(Kind.CONFIG, "relay.circuit_bytes: 1") { Node.start(relaying(RelayLimits(circuitBytes = 1))) },
                    bad(Kind.CONFIG, "relay.circuit_bytes: -1") { Node.start(relaying(RelayLimits(circuitBytes = -1))) },
                    bad(Kind.CONFIG, "relay.circuit_time") { Node.start(relaying(RelayLimits(circuitTime = 9.seconds))) },
                    bad(Kind.CONFIG, "relay.circuit_time: -1") { Node.start(relaying(RelayLimits(circuitTime = wrong))) },
                    bad(Kind.CONFIG, "relay: false") { Node.start(config.copy(relayLimits = RelayLimits())) },
                    bad(Kind.CONFIG, "QUIC has no pre-shared key") {
                        val quic = listOf("/ip4/127.0.0.1/udp/0/quic-v1")
                        Node.start(config.copy(listen = quic, secret = Secret.generate()))
                    },
                    bad(Kind.ADDRESS, "allow: peer id") { Node.start(config.copy(allow = listOf("nobody"))) },
                    bad(Kind.ADDRESS, "deny: peer id") { Node.start(config.copy(deny = listOf("nobody"))) },
                    bad(Kind.ADDRESS, "admit: peer id") { Node.start(config.copy(admit = listOf("nobody"))) },
                    bad(Kind.CONFIG, "admit") { Node.start(config.copy(revoked = "/nowhere")) },
                    bad(Kind.CONFIG, "timeout") { Node.start(config, wrong) },
                    bad(Kind.ADDRESS, "nonsense") { Node.start(config.copy(listen = listOf("nonsense"))) },
                    bad(Kind.ADDRESS, "nonsense") { Node.start(config.copy(boot = listOf("nonsense"))) },
                    bad(Kind.ADDRESS, "nonsense") { Node.start(config.copy(serve = listOf("nonsense"))) },
                    bad(Kind.ADDRESS, "nonsense") { Node.start(config.copy(announce = listOf("nonsense"))) },
                ),
            )
        }

    @Test
    fun `every call of a node names what is not acceptable`() =
        patiently {
            val node = start()
            val id = Key.generate().peer
            check(
                listOf(
                    bad(Kind.TIMEOUT, "") { node.waitFor(100, timeout = 10.milliseconds) },
                    bad(Kind.CONFIG, "-1") { node.waitFor(-1) },
                    bad(Kind.CONFIG, "timeout") { node.waitFor(100, timeout = wrong) },
                    bad(Kind.CONFIG, "role=w") { node.waitFor(100, Query.matching("role=w")) },
                    bad(Kind.ADDRESS, "nobody") { node.viewOf("nobody") },
                    bad(Kind.CONFIG, "timeout") { node.viewOf(id, wrong) },
                    bad(Kind.ADDRESS, "nobody") { node.peerStatus("nobody") },
                    bad(Kind.ADDRESS, "nobody") { node.connect("nobody") },
                    bad(Kind.CONFIG, "timeout") { node.connect(id, timeout = wrong) },
                    bad(Kind.ADDRESS, "nobody") { node.openStream("nobody", "/x/1") },
                    bad(Kind.CONFIG, "") { node.openStream(id, "x") },
                    bad(Kind.CONFIG, "timeout") { node.openStream(id, "/x/1", wrong) },
                    bad(Kind.CONFIG, "/casm/") { node.onStream("/casm/1") { _, _ -> } },
                    bad(Kind.CONFIG, "a b") { node.advertise("a b", 1.seconds) },
                    bad(Kind.CONFIG, "ttl") { node.advertise("x", wrong) },
                    bad(Kind.CONFIG, "a b") { node.findPeers(namespace = "a b").first() },
                    bad(Kind.CONFIG, "-1") { node.findPeers(limit = -1).first() },
                    bad(Kind.CONFIG, "timeout") { node.findPeers(timeout = wrong).first() },
                    bad(Kind.ADDRESS, "allow: peer id \"nobody\"") { node.allow(id, "nobody") },
                    bad(Kind.ADDRESS, "nobody") { node.disallow("nobody") },
                    bad(Kind.ADDRESS, "nobody") { node.setAllowed(listOf("nobody")) },
                    bad(Kind.ADDRESS, "deny: peer id \"nobody\"") { node.deny(id, "nobody") },
                    bad(Kind.ADDRESS, "nobody") { node.undeny("nobody") },
                    bad(Kind.ADDRESS, "nobody") { node.setDenied(listOf("nobody")) },
                    bad(Kind.CONFIG, "certificate") { node.renew("nonsense".bytes()) },
                    bad(Kind.CONFIG, "revocation") { node.revoke("-----BEGIN CASM REVOCATION-----\nnonsense".bytes()) },
                    bad(Kind.INVALID, "admit") { node.revoke(ByteArray(0)) },
                    bad(Kind.CONFIG, node.id) { node.deny(id, node.id) },
                    bad(Kind.CONFIG, node.id) { node.setDenied(setOf(node.id)) },
                    bad(Kind.CONFIG, "svc.x") { node.setMeta(mapOf("svc.x" to "1")) },
                    bad(Kind.CONFIG, "meta") { node.setMeta(mapOf("a" to long)) },
                    bad(Kind.CONFIG, "svc.x") { node.updateMeta(mapOf("svc.x" to "1")) },
                    bad(Kind.CONFIG, "meta") { node.updateMeta(mapOf("a" to long)) },
                    bad(Kind.CONFIG, "host") { node.setHost(long) },
                    bad(Kind.CONFIG, "ttl") { node.setTtl(Duration.ZERO) },
                    bad(Kind.CONFIG, "ttl") { node.setTtl(Duration.INFINITE) },
                    bad(Kind.CONFIG, "role=w") { node.subscribe(Query.matching("role=w")).first() },
                    bad(Kind.CONFIG, "role=w") { node.onChange(Query.matching("role=w")) { } },
                    bad(Kind.CONFIG, "timeout") { node.advertise("x", 1.seconds, wrong) },
                    bad(Kind.CONFIG, "timeout") { node.setMeta(mapOf("a" to "b"), wrong) },
                    bad(Kind.CONFIG, "timeout") { node.updateMeta(mapOf("a" to "b"), wrong) },
                    bad(Kind.CONFIG, "timeout") { node.setHost("changed", wrong) },
                    bad(Kind.CONFIG, "timeout") { node.setTtl(30.seconds, wrong) },
                    bad(Kind.CONFIG, "timeout") { node.eventItems().use { it.next(wrong) } },
                    bad(Kind.CONFIG, "timeout") { node.pause(wrong) },
                    bad(Kind.CONFIG, "timeout") { node.resume(wrong) },
                    bad(Kind.CONFIG, "grace") { node.close(wrong) },
                ),
            )
            check(views(node))
            // Nothing of it has changed anything.
            val own = node.view().single()
            assertEquals(mapOf(), own.meta)
            assertEquals(null to listOf(), node.allowed() to node.denied())
            assertEquals(10.seconds, own.ttl)
            assertNotEquals("changed", own.host)
            assertFalse(node.isPaused || node.closed)
            node.close()
        }

    private fun views(node: Node): List<Bad> {
        val view = node.view()
        return listOf(
            bad(Kind.CONFIG, "role=w") { view.iter("role=w") },
            bad(Kind.CONFIG, "nonsense") { view.lookup(Query.matching("nonsense")) },
            bad(Kind.INVALID, "") { view.iter(Query(prefix = true)) },
            bad(Kind.INVALID, "") { view.count(Query(match = Index.host("a"), from = Index.host("b"))) },
            bad(Kind.CONFIG, "-5") { view.iter(Query(limit = -5)) },
            bad(Kind.ADDRESS, "nobody") { view["nobody"] },
        )
    }

    @Test
    fun `every call of what is far names what is not acceptable`() =
        patiently {
            val (node, other) = pair()
            val remote = node.viewOf(other.id, PATIENCE)
            other.onStream("/x/1") { stream, _ -> stream.read() }
            other.channel("there")
            val stream = node.openStream(other.id, "/x/1", PATIENCE)
            check(
                listOf(
                    bad(Kind.CONFIG, "role=w") { remote.lookup(Query.matching("role=w")) },
                    bad(Kind.INVALID, "") { remote.count(Query(prefix = true)) },
                    bad(Kind.CONFIG, "-5") { remote.iter(Query(limit = -5)) },
                    bad(Kind.ADDRESS, "nobody") { remote.get("nobody") },
                    bad(Kind.CONFIG, "timeout") { remote.lookup(Query.all(), wrong) },
                    bad(Kind.CONFIG, "timeout") { remote.count(timeout = wrong) },
                    bad(Kind.CONFIG, "timeout") { remote.get(other.id, wrong) },
                    bad(Kind.CONFIG, "-1") { stream.read(-1) },
                    bad(Kind.CONFIG, "timeout") { stream.read(1, wrong) },
                    bad(Kind.CONFIG, "timeout") { stream.write(ByteArray(1), wrong) },
                    bad(Kind.CONFIG, "timeout") { stream.closeWrite(wrong) },
                    bad(Kind.CONFIG, "timeout") { stream.close(wrong) },
                    bad(Kind.NOT_FOUND, "nothing") { node.openChannel("nothing", other.id, PATIENCE) },
                    bad(Kind.NOT_FOUND, "nothing") { node.openSemaphore("nothing", other.id, PATIENCE) },
                ),
            )
            // It can be used all the same.
            stream.write(ByteArray(1), PATIENCE)
            stream.close(PATIENCE)
            node.close()
            other.close()
        }

    @Test
    fun `every call of messaging names what is not acceptable`() =
        patiently {
            val node = start()
            val (topic, channel) = node.topic("t") to node.channel("c")
            val semaphore = node.semaphore("held", 1, PATIENCE)
            val lease = semaphore.acquire(PATIENCE)
            val jobs = node.channel("jobs", 1)
            jobs.send("job".bytes(), PATIENCE)
            val job = jobs.take(PATIENCE)
            val stream: suspend () -> Any? = { node.serveStream("a/b") { flowOf(ByteArray(1)) } }
            check(
                listOf(
                    bad(Kind.CONFIG, "a/b") { node.topic("a/b") },
                    bad(Kind.CONFIG, "") { node.topic("u", maxData = 2_000_000) },
                    bad(Kind.CONFIG, "-1") { node.topic("u", maxData = -1) },
                    bad(Kind.CONFIG, "") { topic.subscribe(queue = 0) },
                    bad(Kind.CONFIG, "-1") { topic.messages(queue = -1).first() },
                    bad(Kind.CONFIG, "") { topic.onMessage(queue = 0) { } },
                    bad(Kind.CONFIG, "timeout") { topic.publish(ByteArray(0), wrong) },
                    bad(Kind.TOO_LARGE, "") { topic.publish(large) },
                    bad(Kind.CONFIG, "-1") { topic.waitForPeers(-1) },
                    bad(Kind.CONFIG, "timeout") { topic.waitForPeers(1, wrong) },
                    bad(Kind.CONFIG, "a/b") { node.channel("a/b") },
                    bad(Kind.CONFIG, "-1") { node.channel("d", -1) },
                    bad(Kind.CONFIG, "a/b") { node.openChannel("a/b") },
                    bad(Kind.ADDRESS, "nobody") { node.openChannel("d", "nobody") },
                    bad(Kind.CONFIG, "timeout") { node.openChannel("d", timeout = wrong) },
                    bad(Kind.TOO_LARGE, "") { channel.send(large) },
                    bad(Kind.CONFIG, "timeout") { channel.send(ByteArray(1), wrong) },
                    bad(Kind.CONFIG, "timeout") { channel.recv(wrong) },
                    bad(Kind.CONFIG, "timeout") { channel.take(wrong) },
                    bad(Kind.CONFIG, "timeout") { channel.close(wrong) },
                    bad(Kind.CONFIG, "timeout") { job.done(wrong) },
                    bad(Kind.CONFIG, "timeout") { job.giveBack(wrong) },
                    bad(Kind.TOO_LARGE, "") { select(channel.sending(large)) },
                    bad(Kind.CONFIG, "timeout") { select(channel.receiving(), timeout = wrong) },
                    bad(Kind.INVALID, "branches") { select() },
                    bad(Kind.CONFIG, "0") { node.semaphore("s", 0) },
                    bad(Kind.CONFIG, "-1") { node.semaphore("s", -1) },
                    bad(Kind.CONFIG, "a/b") { node.semaphore("a/b", 1) },
                    bad(Kind.CONFIG, "timeout") { node.semaphore("s", 1, wrong) },
                    bad(Kind.CONFIG, "a/b") { node.openSemaphore("a/b") },
                    bad(Kind.CONFIG, "timeout") { node.openSemaphore("s", timeout = wrong) },
                    bad(Kind.ADDRESS, "nobody") { node.openSemaphore("s", "nobody") },
                    bad(Kind.CONFIG, "timeout") { semaphore.acquire(wrong) },
                    bad(Kind.CONFIG, "timeout") { lease.waitLost(wrong) },
                    bad(Kind.CONFIG, "a/b") { node.serve("a/b") { it.data } },
                    bad(Kind.CONFIG, "a/b", stream),
                    bad(Kind.CONFIG, "0") { node.serve("s", maxInflight = 0) { it.data } },
                    bad(Kind.CONFIG, "-1") { node.serve("s", maxInflight = -1) { it.data } },
                    bad(Kind.CONFIG, "a b") { node.serve("s", allow = listOf("a b")) { it.data } },
                    bad(Kind.NOT_FOUND, "s") { node.call("s") },
                    bad(Kind.CONFIG, "a/b") { node.call("a/b") },
                    bad(Kind.CONFIG, "timeout") { node.call("s", timeout = Duration.ZERO) },
                    bad(Kind.TOO_LARGE, "") { node.call("s", large) },
                    bad(Kind.ADDRESS, "nobody") { node.call("s", peer = "nobody") },
                    bad(Kind.CONFIG, "role=w") { node.call("s", where = Query.matching("role=w")) },
                    bad(Kind.TOO_LARGE, "") { node.call("s", headers = mapOf("a" to long)) },
                    bad(Kind.CONFIG, "-1") { node.callAll("s", limit = -1).first() },
                    bad(Kind.CONFIG, "timeout") { node.callAll("s", timeout = wrong).first() },
                    bad(Kind.ADDRESS, "nobody") { node.callStream("s", peer = "nobody").first() },
                    bad(Kind.NOT_FOUND, "nobody") { node.serviceStats("nobody") },
                ),
            )
            // What was held is held, and what was open is.
            assertFalse(lease.lost || job.lost)
            job.done(PATIENCE)
            assertKind(Kind.TIMEOUT) { channel.recv(10.milliseconds) }
            assertEquals(listOf(), node.services())
            node.close()
        }

    @Test
    fun `the file of a key or of a secret that cannot be is named`() =
        patiently {
            val folder = Files.createTempDirectory("casm")
            val (none, there) = folder.resolve("none").toString() to folder.resolve("there").toString()
            Files.writeString(folder.resolve("there"), "no key")
            check(
                listOf(
                    bad(Kind.IO, none) { Key.load(none) },
                    bad(Kind.CONFIG, there) { Key.load(there) },
                    bad(Kind.CONFIG, there) { Key.generate().save(there) },
                    bad(Kind.IO, none) { Key.generate().save("$none/key") },
                    bad(Kind.IO, none) { Secret.load(none) },
                    bad(Kind.CONFIG, there) { Secret.load(there) },
                    bad(Kind.CONFIG, there) { Secret.generate().save(there) },
                    bad(Kind.IO, none) { Secret.generate().save("$none/swarm.key") },
                    bad(Kind.CONFIG, "fewer than 32 bytes") { Secret.parse("/key/swarm/psk/1.0.0/\n/bin/\n12".bytes()) },
                ),
            )
            folder.toFile().deleteRecursively()
        }
}
