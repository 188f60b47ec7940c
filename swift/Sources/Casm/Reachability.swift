internal import CasmFFI

/// Whether others can reach a node, and where.
public struct Reachability: Sendable, Hashable {
    /// Whether they can.
    public enum Reach: String, Sendable, Hashable, Codable {
        /// At a public address, as was tried, or as a person or the gateway said.
        case `public`
        /// Not directly: it was tried, or relays are used.
        case `private`
        /// Nobody has tried yet.
        case unknown
    }

    /// Whether they can.
    public let reach: Reach
    /// Where, the best first.
    public let addrs: [ReachableAddr]

    init(_ known: CasmFFI.Reachability) {
        reach = Reach(rawValue: known.reach) ?? .unknown
        addrs = known.addrs.map(ReachableAddr.init)
    }
}

/// An address at which a node can be reached.
public struct ReachableAddr: Sendable, Hashable {
    /// How it is known that a node can be reached there.
    public enum Found: String, Sendable, Hashable, Codable {
        /// It was configured.
        case announced
        /// The network's gateway lets others in there.
        case mapped
        /// A peer has dialled it there.
        case dialled
        /// A relay takes there what is for the node.
        case relay
    }

    /// The multiaddr, without the `/p2p/<id>` of the node.
    public let addr: String
    /// How that is known.
    public let found: Found

    init(_ known: CasmFFI.ReachableAddr) {
        addr = known.addr
        found = Found(rawValue: known.found) ?? .dialled
    }
}

/// How much a relay gives. What is left out has its default.
public struct RelayLimits: Sendable, Hashable {
    /// Peers that may be reached over this node, 1 to 4096; 64 if it is left out.
    public var reservations: Int?
    /// Connections that are relayed at once, 1 to 4096; 128 if it is left out.
    public var circuits: Int?
    /// Bytes that one may carry both ways together, 64 KiB to 1 TiB; 256 MiB if it is left
    /// out.
    public var circuitBytes: Int64?
    /// How long one may last, 10 s to a day; an hour if it is left out.
    public var circuitTime: Duration?

    public init(
        reservations: Int? = nil, circuits: Int? = nil, circuitBytes: Int64? = nil,
        circuitTime: Duration? = nil
    ) {
        self.reservations = reservations
        self.circuits = circuits
        self.circuitBytes = circuitBytes
        self.circuitTime = circuitTime
    }

    func ffi() throws -> CasmFFI.RelayLimits {
        CasmFFI.RelayLimits(
            reservations: try number("relay.reservations", ifAny: reservations),
            circuits: try number("relay.circuits", ifAny: circuits),
            circuitBytes: try circuitBytes.map { try count("relay.circuitBytes", $0) },
            circuitTime: circuitTime?.inSeconds)
    }
}
