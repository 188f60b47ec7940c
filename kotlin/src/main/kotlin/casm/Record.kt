package casm

import casm.ffi.PeerFound as GivenFound
import casm.ffi.PeerInfo as GivenInfo
import casm.ffi.PeerStatus as GivenStatus
import casm.ffi.Record as Given
import java.time.Duration as JavaDuration
import kotlin.time.Duration

/** What a node says of itself. */
public data class Record(
    /** The node's peer id. */
    val peer: String,
    /** The number of its server, which follows from its id; read it without a sign. */
    val server: Long,
    /** The number of this record; later ones have higher numbers, without a sign. */
    val seq: Long,
    /** How long it holds without a later one. */
    @get:JvmSynthetic val ttl: Duration,
    /** The name of its host. */
    val host: String,
    /** What else it says. */
    val meta: Map<String, String>,
    /** Where it is reached, the most useful multiaddr first, without `/p2p/<id>`. */
    val addrs: List<String>,
    /** The services that it offers, each with its version. */
    val services: Map<String, String>,
    /** The channels that are at its place. */
    val channels: List<String>,
    /** The roles that are proven of it, as its certificate has them; a node without certificates knows of none. */
    val roles: List<String>,
    /**
     * Whether its signature was verified; false only for records of another node's view
     * that that node cannot prove.
     */
    @get:JvmName("isVerified") val verified: Boolean,
) {
    /** [ttl], for Java. */
    @JvmName("getTtl")
    public fun ttlForJava(): JavaDuration = ttl.java()

    /** Its id and its addresses: what `connect` and its like take. */
    internal fun target(): List<String> = listOf(peer) + addrs

    internal companion object {
        fun of(given: Given) =
            Record(
                peer = given.peer,
                server = given.server.toLong(),
                seq = given.seq.toLong(),
                ttl = given.ttl.asSeconds(),
                host = given.host,
                meta = given.meta,
                addrs = given.addrs,
                services = given.services,
                channels = given.channels,
                roles = given.roles,
                verified = given.verified,
            )
    }
}

/** A peer, and where it can be reached. */
public data class PeerInfo(
    /** Its id. */
    val id: String,
    /** Its multiaddrs, without the final `/p2p/<id>`. */
    val addrs: List<String>,
) {
    internal companion object {
        fun of(given: GivenInfo) = PeerInfo(given.id, given.addrs)
    }
}

/** A peer that discovery found. */
public data class PeerFound(
    /** The boot address that led to it. */
    val source: String,
    /** The peer. */
    val peer: PeerInfo,
) {
    internal companion object {
        fun of(given: GivenFound) = PeerFound(given.source, PeerInfo.of(given.peer))
    }
}

/** What is known of a connected peer. */
public data class PeerStatus(
    /** Its id. */
    val peer: String,
    /** The other end of each connection, the oldest first. */
    val addrs: List<String>,
    /** Who made the oldest: `inbound` or `outbound`. */
    val direction: String,
    /** How long the answer to the last ping took; none before the first one. */
    @get:JvmSynthetic val roundTrip: Duration?,
    /** The program that it says it is; none until it has said so. */
    val agent: String?,
) {
    /** [roundTrip], for Java. */
    @JvmName("getRoundTrip")
    public fun roundTripForJava(): JavaDuration? = roundTrip?.java()

    internal companion object {
        fun of(given: GivenStatus) =
            PeerStatus(given.peer, given.addrs, given.direction, given.roundTrip?.asSeconds(), given.agent)
    }
}
