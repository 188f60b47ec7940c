internal import CasmFFI
import Foundation

/// A member of a cluster, or an observer of one.
///
/// ```swift
/// let node = try await Node.start(Config(namespace: "demo", meta: ["role": "worker"]))
/// for record in try await node.waitFor(3).records(.matching(.meta("role", "worker"))) {
///     print(record.peer, record.host)
/// }
/// try await node.close()
/// ```
///
/// **Threads.** What waits is `async`, holds no thread, and ends when its task is
/// cancelled. What is `throws` alone answers at once from what the node knows, and may be
/// called anywhere, the main actor included.
///
/// **Closures** that are told of things are called one after the other on the node's one
/// thread for that, which is neither the main thread nor one of Swift's tasks: they may
/// call whatever doesn't wait, and hand over what takes longer, as with
/// `Task { @MainActor in … }`. Async handlers of services and streams run as tasks of
/// their own.
///
/// **End.** `close` leaves the cluster, so that others see it at once. A node that nobody
/// holds any more leaves by itself, and nobody waits for that; its feeds, topics, channels
/// and streams hold it. A program that ends says goodbye too.
public final class Node: Sendable {
    let ffi: CasmFFI.Node

    private init(_ ffi: CasmFFI.Node) {
        self.ffi = ffi
    }

    /// Starts a node.
    ///
    /// - Parameters:
    ///   - config: Everything can be left out.
    ///   - timeout: How long it may take; no limit if it is left out.
    ///   - onEvent: Is told what happens to the node from the first event on, until it is
    ///     closed, on the node's thread for closures.
    /// - Throws: ``CasmError/Kind/config``, ``CasmError/Kind/address``,
    ///   ``CasmError/Kind/bind``, ``CasmError/Kind/io``, ``CasmError/Kind/timeout``.
    public static func start(
        _ config: Config = Config(), timeout: Duration? = nil,
        onEvent: (@Sendable (Event) throws -> Void)? = nil
    ) async throws -> Node {
        _ = goodbye
        let (config, listener) = (try config.ffi(), onEvent.map { Listening($0) })
        return Node(
            try await waiting {
                startNode(config: config, timeout: timeout?.inSeconds, onEvent: listener)
            })
    }

    /// The node's peer id. Also of a closed node.
    public var id: String { ffi.id() }

    /// The cluster's name. Also of a closed node.
    public var namespace: String { ffi.namespace() }

    /// Whether it is closed.
    public var isClosed: Bool { ffi.closed() }

    /// Whether it is paused, or about to be.
    public func isPaused() throws -> Bool { try told { try ffi.isPaused() } }

    /// The multiaddrs at which it can be reached, each with its `/p2p/<id>`: none while it
    /// is paused.
    public func addrs() throws -> [String] { try told { try ffi.addrs() } }

    /// Its id and its addresses.
    public func info() throws -> PeerInfo { PeerInfo(try told { try ffi.info() }) }

    /// The cluster as this node sees it now.
    public func view() throws -> ClusterView { ClusterView(try told { try ffi.view() }) }

    /// The ids of the peers that are connected now, in their order.
    public func connected() throws -> [String] { try told { try ffi.connected() } }

    /// What is known of a connected peer; `nil` if it isn't connected.
    public func peerStatus(_ peer: String) throws -> PeerStatus? {
        try told { try ffi.peerStatus(peer: peer) }.map(PeerStatus.init)
    }

    /// Whether others can reach this node, and where. ``Event/reachabilityChanged(_:)``
    /// tells when that changes.
    public func reachability() throws -> Reachability {
        Reachability(try told { try ffi.reachability() })
    }

    /// The node's counters, in the OpenMetrics text format.
    public func metrics() throws -> String { try told { try ffi.metrics() } }

    /// The values of the node's counters now, each by its name and labels as in the text.
    public func metricsSnapshot() throws -> [String: Double] {
        try told { try ffi.metricsSnapshot() }
    }

    /// Waits until the view holds `n` records, the own one among them; or `n` that a query
    /// finds.
    public func waitFor(_ n: Int, _ query: Query = .all, timeout: Duration? = nil)
        async throws -> ClusterView
    {
        let (n, query) = (try number("n", n), try query.ffi())
        return ClusterView(
            try await waiting {
                ffi.startWaitFor(n: n, timeout: timeout?.inSeconds, query: query)
            })
    }

    /// The view of a peer, as it is there. Connects to it as ``connect(_:timeout:)`` does.
    public func viewOf(_ peer: Target, timeout: Duration? = nil) async throws -> RemoteView {
        let view = try await waiting {
            ffi.startViewOf(peer: peer.text, timeout: timeout?.inSeconds)
        }
        return RemoteView(view, of: ffi)
    }

    /// Connects to a peer, and says who it is.
    ///
    /// - Throws: ``CasmError/Kind/notFound`` if no address of it is known,
    ///   ``CasmError/Kind/unreachable`` if none answers, ``CasmError/Kind/paused``.
    @discardableResult
    public func connect(_ peer: Target, timeout: Duration? = nil) async throws -> String {
        try await waiting { ffi.startConnect(addrs: peer.parts, timeout: timeout?.inSeconds) }
    }

    /// Lets others find this node under another namespace too, until `ttl` has passed.
    public func advertise(_ namespace: String, ttl: Duration, timeout: Duration? = nil)
        async throws
    {
        try await waiting {
            ffi.startAdvertise(
                namespace: namespace, ttl: ttl.inSeconds, timeout: timeout?.inSeconds)
        }
    }

    /// Looks for peers, where the boot addresses say.
    ///
    /// - Parameters:
    ///   - namespace: The cluster; that of the node if it is left out.
    ///   - limit: The most peers.
    ///   - timeout: For how long.
    public func findPeers(
        namespace: String? = nil, limit: Int? = nil, timeout: Duration? = nil
    ) throws -> Results<PeerFound> {
        let options = FindOptions(
            namespace: namespace, limit: try number("limit", ifAny: limit), timeout: timeout?.inSeconds)
        let peers = try told { try ffi.findPeers(options: options) }
        return Results(Source(of: ffi, peers, PeerFound.init))
    }

    /// Changes what others may know of this node, and tells them.
    public func setMeta(_ meta: [String: String], timeout: Duration? = nil) async throws {
        try await waiting { ffi.startSetMeta(meta: meta, timeout: timeout?.inSeconds) }
    }

    /// Changes some of what others may know of this node, and tells them: each key gets
    /// the value, or goes if that is `nil`. No other change comes between.
    public func updateMeta(_ changes: [String: String?], timeout: Duration? = nil) async throws {
        try await waiting { ffi.startUpdateMeta(changes: changes, timeout: timeout?.inSeconds) }
    }

    /// Changes the host name that others read, and tells them.
    public func setHost(_ host: String, timeout: Duration? = nil) async throws {
        try await waiting { ffi.startSetHost(host: host, timeout: timeout?.inSeconds) }
    }

    /// Changes how long others keep this node's record, and tells them.
    /// In a large cluster it may be longer.
    public func setTTL(_ ttl: Duration, timeout: Duration? = nil) async throws {
        try await waiting { ffi.startSetTtl(ttl: ttl.inSeconds, timeout: timeout?.inSeconds) }
    }

    /// What happens from now on.
    public func events() throws -> Feed<Event> {
        let events = try told { try ffi.events() }
        return Feed(Source(of: ffi, events, Event.init)) { events.dropped() }
    }

    /// Calls a closure with what happens from now on, on the node's thread for closures.
    /// What it throws is logged and counted.
    @discardableResult
    public func onEvent(_ closure: @escaping @Sendable (Event) throws -> Void) throws
        -> Subscription
    {
        Subscription(try told { try ffi.onEvent(listener: Listening(closure)) })
    }

    /// Follows a query: what it finds now, then every change to that.
    public func subscribe(_ query: Query = .all) throws -> Feed<Change> {
        let changes = try told { try ffi.subscribe(query: try query.ffi()) }
        return Feed(Source(of: ffi, changes, Change.init)) { changes.dropped() }
    }

    /// Calls a closure with what a query finds and every change to that, on the node's
    /// thread for closures. What it throws is logged and counted.
    @discardableResult
    public func onChange(
        _ query: Query = .all, _ closure: @escaping @Sendable (Change) throws -> Void
    ) throws -> Subscription {
        let query = try query.ffi()
        return Subscription(
            try told { try ffi.onChange(query: query, listener: Listening(closure)) })
    }

    /// Leaves the cluster for a while, so that others see it at once, and lets every
    /// connection and socket go: for an app that goes to the background. The node keeps its
    /// key, its view, the peers it knows, what it tells of itself, and every subscription;
    /// what needs the network throws ``CasmError/Kind/paused``. A second call does nothing.
    ///
    /// It takes a second at most, and a cancellation of its task doesn't end it.
    public func pause(timeout: Duration? = nil) async throws {
        try await finishing { ffi.startPause(timeout: timeout?.inSeconds) }
    }

    /// Comes back after a pause: listens, connects to who was connected, and announces
    /// itself. Subscriptions are told what has changed meanwhile.
    public func resume(timeout: Duration? = nil) async throws {
        try await waiting { ffi.startResume(timeout: timeout?.inSeconds) }
    }

    /// Leaves the cluster, so that others see it at once, and waits until nothing of the
    /// node is running. A second call does nothing. A cancellation of its task
    /// doesn't end it, so that a cancelled one can still say goodbye.
    ///
    /// - Parameters:
    ///   - grace: How long requests that its services work on have to be answered before.
    ///     A handler of one that closes the node is not waited for.
    ///   - timeout: How long to wait for all of it; no limit if it is left out.
    public func close(grace: Duration = .seconds(5), timeout: Duration? = nil) async throws {
        let handling = Handling.node == ObjectIdentifier(ffi)
        try await finishing {
            ffi.startClose(
                timeout: timeout?.inSeconds, grace: grace.inSeconds, handling: handling)
        }
    }
}

/// Arranges, once, that a program that ends says goodbye for what it has not closed.
private let goodbye: Void = {
    atexit { atExit(timeout: 0.3) }
}()
