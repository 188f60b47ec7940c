internal import CasmFFI

/// The configuration of a node. Everything can be left out: then nodes of one machine,
/// or one local network, find each other.
///
/// ```swift
/// let config = Config(namespace: "demo", meta: ["role": "worker"], power: .low)
/// ```
public struct Config: Sendable {
    /// How much a node does of itself.
    public enum Power: String, Sendable, Hashable, Codable {
        /// For what has enough.
        case normal
        /// For what runs on a battery: longer pauses, fewer connections.
        case low
    }

    /// Whether a node says less often that it lives as its cluster grows.
    public enum Pace: String, Sendable, Hashable, Codable {
        /// The TTL grows with the cluster, so that all its nodes together stay within the
        /// budget.
        case auto
        /// The TTL is as it is set.
        case fixed
    }

    /// The cluster to join; `casm` if it is left out.
    public var namespace: String?
    /// Multiaddrs to listen at; TCP and QUIC (with a `secret` TCP alone) on every
    /// interface if there are none.
    public var listen: [String]
    /// Where to look for peers: `auto`, `none`, or addresses such as
    /// `/ip4/10.0.0.0/udp/8822/cidr/24`. If it is left out, the variable `CASM_BOOT` says
    /// it, or it is `auto`.
    public var boot: [String]?
    /// Where to answer those who look, beside what `boot` implies.
    public var serve: [String]
    /// Where others reach this node behind a port mapping, such as
    /// `/ip4/203.0.113.7/tcp/4001`: told to all, before the addresses that the node finds.
    /// If there are none, the variable `CASM_ANNOUNCE` says it.
    public var announce: [String]
    /// Whether nothing but `announce` is told.
    public var announceOnly: Bool
    /// The name of this host, for others to read; the machine's if it is left out.
    public var host: String?
    /// What others may know and query of this node.
    public var meta: [String: String]
    /// For how long others keep its record without hearing from it, 1 s to a day; 10 s if
    /// it is left out, or 600 s with low power. Longer in a large cluster, unless the pace
    /// is ``Pace/fixed``.
    public var ttl: Duration?
    /// Whether to look on only, without being in the cluster.
    public var observer: Bool
    /// The folder of what is to outlast the node, such as the peers it knows.
    public var data: String?
    /// The longest pause between two exchanges of peers, 0.1 s to a day.
    public var pexTick: Duration?
    /// How much the node does of itself; ``Power/normal`` if it is left out.
    public var power: Power?
    /// Whether the TTL grows with the cluster; ``Pace/auto`` if it is left out.
    public var pace: Pace?
    /// How many heartbeats the whole cluster may send in a second, 1 to 100,000; 150 if it
    /// is left out. It should be the same for all its nodes.
    public var budget: Int?
    /// Limits on what is spent on peers.
    public var limits: Limits?
    /// The node's identity; a fresh one if it is left out.
    public var key: Key?
    /// The pre-shared key of a private cluster: who doesn't hold it learns nothing of it,
    /// and QUIC is off. If it is left out, the variable `CASM_SECRET_FILE` names its file,
    /// or the cluster is open.
    public var secret: Secret?
    /// The ids of the peers that are taken, and no others; of this node it needs none. If
    /// there are none, everybody is.
    public var allow: [String]
    /// The ids of peers that are not taken, whether they are allowed or not.
    public var deny: [String]
    /// The ids of the authorities whose certificates make a member: who has no valid
    /// certificate can't connect, and nothing that it signed is taken. If there are none,
    /// no certificates are needed.
    public var admit: [String]
    /// The certificate of this node's `key`; needed with `admit`.
    public var certificate: Certificate?
    /// A file of revocations, which is read again when it changes: whose certificates they
    /// take back is put out. One member that has it suffices.
    public var revoked: String?
    /// Whether this node relays for peers that nobody else can reach. For a node that
    /// others can reach.
    public var relay: Bool
    /// How much it relays. Only with `relay`.
    public var relayLimits: RelayLimits?
    /// Whether this node, when it can't be reached itself, asks relays among its peers to
    /// take what is for it, and tries to get from there to direct connections.
    public var useRelays: Bool
    /// Whether this node asks the network's gateway to let others in, by UPnP.
    public var upnp: Bool

    public init(
        namespace: String? = nil, listen: [String] = [], boot: [String]? = nil,
        serve: [String] = [], announce: [String] = [], announceOnly: Bool = false,
        host: String? = nil, meta: [String: String] = [:], ttl: Duration? = nil,
        observer: Bool = false, data: String? = nil, pexTick: Duration? = nil,
        power: Power? = nil, pace: Pace? = nil, budget: Int? = nil, limits: Limits? = nil,
        key: Key? = nil, secret: Secret? = nil, allow: [String] = [], deny: [String] = [],
        admit: [String] = [], certificate: Certificate? = nil, revoked: String? = nil,
        relay: Bool = false, relayLimits: RelayLimits? = nil, useRelays: Bool = true,
        upnp: Bool = false
    ) {
        self.namespace = namespace
        self.listen = listen
        self.boot = boot
        self.serve = serve
        self.announce = announce
        self.announceOnly = announceOnly
        self.host = host
        self.meta = meta
        self.ttl = ttl
        self.observer = observer
        self.data = data
        self.pexTick = pexTick
        self.power = power
        self.pace = pace
        self.budget = budget
        self.limits = limits
        self.key = key
        self.secret = secret
        self.allow = allow
        self.deny = deny
        self.admit = admit
        self.certificate = certificate
        self.revoked = revoked
        self.relay = relay
        self.relayLimits = relayLimits
        self.useRelays = useRelays
        self.upnp = upnp
    }

    func ffi() throws -> CasmFFI.Config {
        CasmFFI.Config(
            namespace: namespace, listen: listen, boot: boot, serve: serve, announce: announce,
            announceOnly: announceOnly, host: host, meta: meta, ttl: ttl?.inSeconds,
            observer: observer, data: data, pexTick: pexTick?.inSeconds, power: power?.rawValue,
            pace: pace?.rawValue, budget: try number("budget", ifAny: budget),
            limits: try limits?.ffi(), key: key?.ffi, secret: secret?.ffi,
            allow: allow, deny: deny, admit: admit, certificate: certificate?.ffi,
            revoked: revoked, relay: relay, relayLimits: try relayLimits?.ffi(),
            useRelays: useRelays, upnp: upnp)
    }
}

/// Limits on what is spent on peers. What is left out has its default.
public struct Limits: Sendable, Hashable {
    /// Established connections.
    public var connections: Int?
    /// Established connections with one peer.
    public var connectionsPerPeer: Int?
    /// Connections being set up, in each direction.
    public var pending: Int?
    /// Fraction of the machine's memory which the process may use before new connections
    /// are refused.
    public var memory: Double?
    /// What capabilities may cost.
    public var rpc: RPCLimits?
    /// What the cluster view may hold.
    public var table: TableLimits?

    public init(
        connections: Int? = nil, connectionsPerPeer: Int? = nil, pending: Int? = nil,
        memory: Double? = nil, rpc: RPCLimits? = nil, table: TableLimits? = nil
    ) {
        self.connections = connections
        self.connectionsPerPeer = connectionsPerPeer
        self.pending = pending
        self.memory = memory
        self.rpc = rpc
        self.table = table
    }

    func ffi() throws -> CasmFFI.Limits {
        CasmFFI.Limits(
            connections: try number("limits.connections", ifAny: connections),
            connectionsPerPeer: try number("limits.connectionsPerPeer", ifAny: connectionsPerPeer),
            pending: try number("limits.pending", ifAny: pending), memory: memory,
            rpc: try rpc?.ffi(), table: try table?.ffi())
    }
}

/// Limits on what RPC may cost. What is left out has its default.
public struct RPCLimits: Sendable, Hashable {
    /// Bytes of one message that is received.
    public var messageBytes: Int?
    /// Bytes of the calls that a stream has brought and that are not answered.
    public var heldBytes: Int?
    /// Bytes that wait to be written on a stream.
    public var queuedBytes: Int?
    /// Bytes of all streams together.
    public var totalBytes: Int?
    /// Calls that a stream has brought and that are not finished.
    public var calls: Int?
    /// Capabilities that a stream exports, and that it imports.
    public var capabilities: Int?
    /// Streams that one peer may have open.
    public var streamsPerPeer: Int?
    /// Streams that all peers together may have open.
    public var streams: Int?
    /// For how long a stream may be idle.
    public var idle: Duration?
    /// For how long the peer may take none of the bytes that wait for it.
    public var stall: Duration?
    /// How long a call that a stream has brought may take.
    public var call: Duration?

    public init(
        messageBytes: Int? = nil, heldBytes: Int? = nil, queuedBytes: Int? = nil,
        totalBytes: Int? = nil, calls: Int? = nil, capabilities: Int? = nil,
        streamsPerPeer: Int? = nil, streams: Int? = nil, idle: Duration? = nil,
        stall: Duration? = nil, call: Duration? = nil
    ) {
        self.messageBytes = messageBytes
        self.heldBytes = heldBytes
        self.queuedBytes = queuedBytes
        self.totalBytes = totalBytes
        self.calls = calls
        self.capabilities = capabilities
        self.streamsPerPeer = streamsPerPeer
        self.streams = streams
        self.idle = idle
        self.stall = stall
        self.call = call
    }

    func ffi() throws -> CasmFFI.RpcLimits {
        CasmFFI.RpcLimits(
            messageBytes: try number("limits.rpc.messageBytes", ifAny: messageBytes),
            heldBytes: try number("limits.rpc.heldBytes", ifAny: heldBytes),
            queuedBytes: try number("limits.rpc.queuedBytes", ifAny: queuedBytes),
            totalBytes: try number("limits.rpc.totalBytes", ifAny: totalBytes),
            calls: try number("limits.rpc.calls", ifAny: calls),
            capabilities: try number("limits.rpc.capabilities", ifAny: capabilities),
            streamsPerPeer: try number("limits.rpc.streamsPerPeer", ifAny: streamsPerPeer),
            streams: try number("limits.rpc.streams", ifAny: streams), idle: idle?.inSeconds,
            stall: stall?.inSeconds, call: call?.inSeconds)
    }
}

/// Limits on what the cluster view may hold. What is left out has its default.
public struct TableLimits: Sendable, Hashable {
    /// Records.
    public var records: Int?
    /// Bytes of memory, as estimated.
    public var bytes: Int?
    /// Departed peers whose sequence numbers are remembered.
    public var remembered: Int?
    /// For how long a peer must have been there so that no stranger takes its place in a
    /// full table.
    public var probation: Duration?

    public init(
        records: Int? = nil, bytes: Int? = nil, remembered: Int? = nil,
        probation: Duration? = nil
    ) {
        self.records = records
        self.bytes = bytes
        self.remembered = remembered
        self.probation = probation
    }

    func ffi() throws -> CasmFFI.TableLimits {
        CasmFFI.TableLimits(
            records: try number("limits.table.records", ifAny: records),
            bytes: try number("limits.table.bytes", ifAny: bytes),
            remembered: try number("limits.table.remembered", ifAny: remembered),
            probation: probation?.inSeconds)
    }
}
