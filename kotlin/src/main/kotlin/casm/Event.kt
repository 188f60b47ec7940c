package casm

import casm.ffi.Change as GivenChange
import casm.ffi.Event as Given
import casm.ffi.LeaveReason as GivenReason
import java.time.Duration as JavaDuration
import kotlin.time.Duration

/** Something that happened to a node. Later versions may have more: have an `else`. */
public abstract class Event internal constructor() {
    /**
     * The node listens at these addresses, each with its `/p2p/<id>`. Comes again when
     * they change.
     */
    public data class Listening(
        /** The node's own id. */
        val peer: String,
        /** All addresses at which it can be reached. */
        val addrs: List<String>,
    ) : Event()

    /** A peer came into the cluster view. */
    public data class PeerJoined(
        /** What it says of itself. */
        val record: Record,
    ) : Event()

    /** A peer said something new of itself. Another TTL alone is no news. */
    public data class PeerUpdated(
        /** What it says now. */
        val record: Record,
    ) : Event()

    /** A peer is no longer in the cluster view. */
    public data class PeerLeft(
        /** Its id. */
        val peer: String,
        /** Why. */
        val reason: LeaveReason,
    ) : Event()

    /** Discovery found a peer. */
    public data class PeersFound(
        /** The boot address that led to it. */
        val source: String,
        /** The peer. */
        val peer: PeerInfo,
    ) : Event()

    /** The peer-exchange view holds other peers than before. */
    public data class ViewChanged(
        /** The ids of those it holds now. */
        val peers: List<String>,
    ) : Event()

    /** The first connection to a peer was made. */
    public data class Connected(
        /** Its id. */
        val peer: String,
    ) : Event()

    /** The last connection to a peer was closed. */
    public data class Disconnected(
        /** Its id. */
        val peer: String,
    ) : Event()

    /** A peer is connected over a relay alone. */
    public data class Relayed(
        /** Its id. */
        val peer: String,
    ) : Event()

    /** A peer that was connected over a relay is connected directly. */
    public data class Direct(
        /** Its id. */
        val peer: String,
    ) : Event()

    /** Whether others can reach this node, or where, is another than it was. */
    public data class ReachabilityChanged(
        /** What is known now. */
        val reachability: Reachability,
    ) : Event()

    /** This node's clock and those of its peers differ by more than a minute. */
    public data class ClockDiffers(
        /** How far the peers' clocks are ahead, as the median; negative if this node's is. */
        @get:JvmSynthetic val offset: Duration,
        /**
         * The ids of the peers whose clocks were compared, one of each network. If it is
         * one alone, either clock may be wrong.
         */
        val peers: List<String>,
    ) : Event() {
        /** [offset], for Java. */
        @JvmName("getOffset")
        public fun offsetForJava(): JavaDuration = offset.java()
    }

    /**
     * Another node that runs now uses this node's key: its machine or its data is a copy.
     * Comes once, at both. Give each node a key of its own.
     */
    public data class KeyShared(
        /** What the other node says of itself, under the same id. */
        val record: Record,
    ) : Event()

    /** Who listens was too slow: the oldest events were dropped. */
    public data class Dropped(
        /** How many. */
        val count: Long,
    ) : Event()

    internal companion object {
        fun of(given: Given): Event =
            when (given) {
                is Given.Listening -> Listening(given.peer, given.addrs)
                is Given.PeerJoined -> PeerJoined(Record.of(given.record))
                is Given.PeerUpdated -> PeerUpdated(Record.of(given.record))
                is Given.PeerLeft -> PeerLeft(given.peer, LeaveReason.of(given.reason))
                is Given.PeersFound -> PeersFound(given.source, PeerInfo.of(given.peer))
                is Given.ViewChanged -> ViewChanged(given.peers)
                is Given.Connected -> Connected(given.peer)
                is Given.Disconnected -> Disconnected(given.peer)
                is Given.Relayed -> Relayed(given.peer)
                is Given.Direct -> Direct(given.peer)
                is Given.ReachabilityChanged -> ReachabilityChanged(Reachability.of(given.reachability))
                is Given.ClockDiffers -> ClockDiffers(given.offset.asSeconds(), given.peers)
                is Given.KeyShared -> KeyShared(Record.of(given.record))
                is Given.Dropped -> Dropped(given.count.toLong())
            }
    }
}

/** Why a peer is no longer in the cluster. */
public enum class LeaveReason {
    /** It said goodbye. */
    LEFT,

    /** Nothing was heard from it for too long. */
    EXPIRED,

    /** Peers that were connected to it say that it answers no more. */
    FAILED,
    ;

    internal companion object {
        fun of(given: GivenReason) =
            when (given) {
                GivenReason.LEFT -> LEFT
                GivenReason.EXPIRED -> EXPIRED
                GivenReason.FAILED -> FAILED
            }
    }
}

/** What happens to the records that a query finds. Later versions may have more. */
public abstract class Change internal constructor() {
    /** The record; none of what was [Dropped]. */
    public abstract val record: Record?

    /** A record that was found when the query began. All of these come first. */
    public data class Current(
        override val record: Record,
    ) : Change()

    /** A record that is found from now on. */
    public data class Joined(
        override val record: Record,
    ) : Change()

    /** A record that is still found, and says something new. */
    public data class Updated(
        override val record: Record,
    ) : Change()

    /** A record that is found no more, as it was last. */
    public data class Left(
        override val record: Record,
    ) : Change()

    /** Who listens was too slow: the oldest changes are lost, and the whole picture comes again. */
    public data class Dropped(
        /** How many. */
        val count: Long,
    ) : Change() {
        override val record: Record? get() = null
    }

    internal companion object {
        fun of(given: GivenChange): Change =
            when (given) {
                is GivenChange.Current -> Current(Record.of(given.record))
                is GivenChange.Joined -> Joined(Record.of(given.record))
                is GivenChange.Updated -> Updated(Record.of(given.record))
                is GivenChange.Left -> Left(Record.of(given.record))
                is GivenChange.Dropped -> Dropped(given.count.toLong())
            }
    }
}
