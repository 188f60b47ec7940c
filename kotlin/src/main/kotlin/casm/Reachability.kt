package casm

import casm.ffi.Reachability as Given
import casm.ffi.ReachableAddr as GivenAddr
import casm.ffi.RelayLimits as GivenLimits
import java.time.Duration as JavaDuration
import kotlin.time.Duration

/** Whether others can reach a node, and where. */
public data class Reachability(
    /**
     * `public`: at a public address, as was tried, or as a person or the gateway said.
     * `private`: not directly. `unknown`: nobody has tried yet.
     */
    val reach: String,
    /** Where, the best first. */
    val addrs: List<ReachableAddr>,
) {
    internal companion object {
        fun of(given: Given) = Reachability(given.reach, given.addrs.map(ReachableAddr::of))
    }
}

/** An address at which a node can be reached. */
public data class ReachableAddr(
    /** The multiaddr, without the `/p2p/<id>` of the node. */
    val addr: String,
    /**
     * How that is known: `announced` as it was configured, `mapped` by the network's
     * gateway, `dialled` by a peer, or over a `relay`.
     */
    val found: String,
) {
    internal companion object {
        fun of(given: GivenAddr) = ReachableAddr(given.addr, given.found)
    }
}

/** How much a relay gives. What is left out has its default. */
public data class RelayLimits(
    /** Peers that may be reached over this node, 1 to 4096; 64 if it is left out. */
    val reservations: Int? = null,
    /** Connections that are relayed at once, 1 to 4096; 128 if it is left out. */
    val circuits: Int? = null,
    /** Bytes that one may carry both ways together, 64 KiB to 1 TiB; 256 MiB if it is left out. */
    val circuitBytes: Long? = null,
    /** How long one may last, 10 s to 24 h; 1 h if it is left out. */
    @get:JvmSynthetic val circuitTime: Duration? = null,
) {
    /** The same, for Java. What is null has its default. */
    public constructor(reservations: Int?, circuits: Int?, circuitBytes: Long?, circuitTime: JavaDuration?) :
        this(reservations, circuits, circuitBytes, circuitTime.kotlin())

    internal fun given() =
        GivenLimits(
            reservations = reservations?.unsigned("relay.reservations"),
            circuits = circuits?.unsigned("relay.circuits"),
            circuitBytes = circuitBytes?.unsigned("relay.circuit_bytes"),
            circuitTime = circuitTime?.toSeconds(),
        )
}
