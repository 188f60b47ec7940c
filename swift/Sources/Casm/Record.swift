internal import CasmFFI

/// What a node says of itself, signed by it.
///
/// A list in SwiftUI takes records as they are: a record's `id` is its peer.
public struct Record: Sendable, Hashable, Codable, Identifiable {
    /// The node's peer id.
    public var peer: String
    /// The number of its server, which follows from its id.
    public var server: UInt64
    /// The number of this record; later ones have higher numbers.
    public var seq: UInt64
    /// For how long it holds without a later one.
    public var ttl: Duration
    /// The name of its host.
    public var host: String
    /// What else it says.
    public var meta: [String: String]
    /// Where it is reached, the most useful multiaddr first, without `/p2p/<id>`.
    public var addrs: [String]
    /// The services that it offers, each with its version.
    public var services: [String: String]
    /// The channels that are at its place.
    public var channels: [String]
    /// The roles that are proven of it, as its certificate has them; a node without
    /// certificates knows of none.
    public var roles: [String]
    /// Whether its signature was verified; false only for records of another node's
    /// view that that node cannot prove.
    public var isVerified: Bool

    /// The same as `peer`.
    public var id: String { peer }

    /// A record: for previews and tests. A node gives those of its peers.
    public init(
        peer: String, server: UInt64 = 0, seq: UInt64 = 0, ttl: Duration = .seconds(10),
        host: String = "", meta: [String: String] = [:], addrs: [String] = [],
        services: [String: String] = [:], channels: [String] = [], roles: [String] = [],
        isVerified: Bool = false
    ) {
        self.peer = peer
        self.server = server
        self.seq = seq
        self.ttl = ttl
        self.host = host
        self.meta = meta
        self.addrs = addrs
        self.services = services
        self.channels = channels
        self.roles = roles
        self.isVerified = isVerified
    }
}

extension Record {
    init(_ record: CasmFFI.Record) {
        self.init(
            peer: record.peer, server: record.server, seq: record.seq,
            ttl: Duration(inSeconds: record.ttl), host: record.host, meta: record.meta,
            addrs: record.addrs, services: record.services, channels: record.channels,
            roles: record.roles, isVerified: record.verified)
    }
}
