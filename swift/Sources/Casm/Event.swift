internal import CasmFFI

/// Something that happened to a node. Later versions may know more cases: a `switch`
/// over them needs a `default`.
public enum Event: Sendable, Hashable {
    /// Why a peer is no longer in the cluster.
    public enum LeaveReason: String, Sendable, Hashable, Codable {
        /// It said goodbye.
        case left
        /// Nothing was heard from it for too long.
        case expired
        /// Peers that were connected to it say that it answers no more.
        case failed
    }

    /// The node listens at these addresses, each with its `/p2p/<id>`. Comes again when
    /// they change.
    case listening(peer: String, addrs: [String])
    /// A peer came into the cluster view.
    case peerJoined(Record)
    /// A peer said something new of itself. Another TTL alone is no news.
    case peerUpdated(Record)
    /// A peer is no longer in the cluster view.
    case peerLeft(peer: String, reason: LeaveReason)
    /// Discovery found a peer, by this boot address.
    case peersFound(source: String, peer: PeerInfo)
    /// The peer-exchange view holds other peers than before: these.
    case viewChanged(peers: [String])
    /// The first connection to a peer was made.
    case connected(peer: String)
    /// The last connection to a peer was closed.
    case disconnected(peer: String)
    /// A peer is connected over a relay alone.
    case relayed(peer: String)
    /// A peer that was connected over a relay is connected directly.
    case direct(peer: String)
    /// Whether others can reach this node, or where, is another than it was.
    case reachabilityChanged(Reachability)
    /// This node's clock and those of its peers differ by more than a minute: so far are
    /// the peers' clocks ahead, as the median. The peers are those whose clocks were
    /// compared, one of each network; if it is one alone, either clock may be wrong.
    case clockDiffers(offset: Duration, peers: [String])
    /// Another node that runs now uses this node's key: its machine or its data is a
    /// copy. Comes once, at both. Give each node a key of its own.
    case keyShared(Record)
    /// The listener was too slow: so many of the oldest events were dropped.
    case dropped(count: UInt64)
}

/// What happens to the records that a query finds. Later versions may know more cases.
public enum Change: Sendable, Hashable {
    /// A record that was found when the query began. All of these come first.
    case current(Record)
    /// A record that is found from now on.
    case joined(Record)
    /// A record that is still found, and says something new.
    case updated(Record)
    /// A record that is found no more, as it was last.
    case left(Record)
    /// The listener was too slow: so many of the oldest changes are lost, and the whole
    /// picture comes again, as ``current(_:)``.
    case dropped(count: UInt64)
}

extension Event {
    init(_ event: CasmFFI.Event) {
        self =
            switch event {
            case .listening(let peer, let addrs): .listening(peer: peer, addrs: addrs)
            case .peerJoined(let record): .peerJoined(Record(record))
            case .peerUpdated(let record): .peerUpdated(Record(record))
            case .peerLeft(let peer, .left): .peerLeft(peer: peer, reason: .left)
            case .peerLeft(let peer, .expired): .peerLeft(peer: peer, reason: .expired)
            case .peerLeft(let peer, .failed): .peerLeft(peer: peer, reason: .failed)
            case .peersFound(let source, let peer):
                .peersFound(source: source, peer: PeerInfo(peer))
            case .viewChanged(let peers): .viewChanged(peers: peers)
            case .connected(let peer): .connected(peer: peer)
            case .disconnected(let peer): .disconnected(peer: peer)
            case .relayed(let peer): .relayed(peer: peer)
            case .direct(let peer): .direct(peer: peer)
            case .reachabilityChanged(let known): .reachabilityChanged(Reachability(known))
            case .clockDiffers(let offset, let peers):
                .clockDiffers(offset: Duration(inSeconds: offset), peers: peers)
            case .keyShared(let record): .keyShared(Record(record))
            case .dropped(let count): .dropped(count: count)
            }
    }
}

extension Change {
    init(_ change: CasmFFI.Change) {
        self =
            switch change {
            case .current(let record): .current(Record(record))
            case .joined(let record): .joined(Record(record))
            case .updated(let record): .updated(Record(record))
            case .left(let record): .left(Record(record))
            case .dropped(let count): .dropped(count: count)
            }
    }
}
