internal import CasmFFI

/// A peer, and where it can be reached.
public struct PeerInfo: Sendable, Hashable, Codable, Identifiable {
    /// Its id.
    public var id: String
    /// Its multiaddrs, without the final `/p2p/<id>`.
    public var addrs: [String]

    public init(id: String, addrs: [String] = []) {
        self.id = id
        self.addrs = addrs
    }

    init(_ peer: CasmFFI.PeerInfo) {
        self.init(id: peer.id, addrs: peer.addrs)
    }
}

/// What is known of a connected peer.
public struct PeerStatus: Sendable, Hashable, Identifiable {
    /// Who made a connection.
    public enum Direction: String, Sendable, Hashable, Codable {
        /// The peer.
        case inbound
        /// This node.
        case outbound
    }

    /// Its id.
    public let peer: String
    /// The other end of each connection, the oldest first.
    public let addrs: [String]
    /// Who made the oldest.
    public let direction: Direction
    /// How long the answer to the last ping took; `nil` before the first one.
    public let roundTrip: Duration?
    /// The program that it says it is; `nil` until it has said so.
    public let agent: String?

    /// The same as `peer`.
    public var id: String { peer }

    init(_ status: CasmFFI.PeerStatus) {
        peer = status.peer
        addrs = status.addrs
        direction = Direction(rawValue: status.direction) ?? .inbound
        roundTrip = status.roundTrip.map { Duration(inSeconds: $0) }
        agent = status.agent
    }
}

/// A peer that discovery found.
public struct PeerFound: Sendable, Hashable {
    /// The boot address that led to it.
    public let source: String
    /// The peer.
    public let peer: PeerInfo

    init(_ found: CasmFFI.PeerFound) {
        source = found.source
        peer = PeerInfo(found.peer)
    }
}

/// Whom to reach: a peer's id, a record, a ``PeerInfo``, or multiaddrs.
///
/// A string literal is an id, or one multiaddr: whoever answers there, or who is named
/// at its end by `/p2p/<id>`. Where the peer is said without addresses, its record and
/// peer exchange say where it is.
public struct Target: Sendable, Hashable, ExpressibleByStringLiteral {
    /// The id, if it is known, and addresses.
    let parts: [String]
    let id: String?

    /// An id, or a multiaddr.
    public init(_ text: String) {
        parts = [text]
        id = nil
    }

    public init(stringLiteral text: String) {
        self.init(text)
    }

    /// A member, as its record has it.
    public static func record(_ record: Record) -> Self {
        Self(id: record.peer, addrs: record.addrs)
    }

    /// A peer at these addresses, or where its record says if none of them answers.
    public static func peer(_ info: PeerInfo) -> Self { Self(id: info.id, addrs: info.addrs) }

    /// A peer, by its id alone.
    public static func peer(_ id: String) -> Self { Self(id) }

    /// One peer at several multiaddrs, each with its `/p2p/<id>`, as ``Node/addrs()``
    /// gives them.
    public static func addrs(_ addrs: [String]) -> Self { Self(id: nil, addrs: addrs) }

    private init(id: String?, addrs: [String]) {
        self.id = id
        parts = (id.map { [$0] } ?? []) + addrs
    }

    /// For a call that takes one text: an address that names the peer says both.
    var text: String {
        guard let id else { return parts.first ?? "" }
        return parts.dropFirst().first.map { "\($0)/p2p/\(id)" } ?? id
    }
}
