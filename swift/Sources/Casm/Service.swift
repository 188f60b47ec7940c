internal import CasmFFI
public import Foundation

/// A request that a service is asked.
public struct Request: Sendable {
    private let ffi: CasmFFI.Request

    /// What was asked.
    public let data: Data
    /// What came along with it.
    public let headers: [String: String]
    /// The id of who asks.
    public let peer: String
    /// Until when the answer is waited for; `nil` if there is no limit.
    public let deadline: ContinuousClock.Instant?

    init(_ ffi: CasmFFI.Request) {
        self.ffi = ffi
        data = ffi.data()
        headers = ffi.headers()
        peer = ffi.peer()
        deadline = ffi.timeLeft().map { .now + .seconds($0) }
    }

    /// Whether nobody waits for the answer any more. The handler's task is cancelled then,
    /// too.
    public var isCancelled: Bool { ffi.cancelled() }
}

/// What a handler may give: `Data`, or a ``Reply`` with headers.
public protocol Answering: Sendable {
    /// As it is sent.
    var reply: Reply { get }
}

/// What a handler answers, with headers: at most 16, with 4 KiB in all.
public struct Reply: Sendable, Hashable, Answering {
    /// The answer, at most 1 MiB.
    public var data: Data
    /// What comes along with it.
    public var headers: [String: String]

    public init(_ data: Data, headers: [String: String] = [:]) {
        self.data = data
        self.headers = headers
    }

    public var reply: Reply { self }
}

extension Data: Answering {
    public var reply: Reply { Reply(self) }
}

/// Where a handler sends the parts of its answer.
public struct Parts: Sendable {
    private let ffi: CasmFFI.Request

    init(_ ffi: CasmFFI.Request) {
        self.ffi = ffi
    }

    /// Sends a part, up to 64 KiB, and waits until there is room for the next.
    public func send(_ data: Data, timeout: Duration? = nil) async throws {
        try await waiting { ffi.startPart(data: data, timeout: timeout?.inSeconds) }
    }
}

/// A service that is served, until it is stopped or its node is closed, also if nobody
/// holds this.
public final class Serving: Sendable {
    private let ffi: CasmFFI.Serving

    init(_ ffi: CasmFFI.Serving) {
        self.ffi = ffi
    }

    /// The service's name.
    public var name: String { ffi.name() }

    /// Serves it no more. Requests that have come are answered.
    public func stop() { ffi.stop() }
}

/// What a service that is served here has done so far.
public struct ServiceStats: Sendable, Hashable {
    /// Requests that a handler has worked on, or works on.
    public let calls: UInt64
    /// Requests without an answer, by kind.
    public let failures: [String: UInt64]
    /// Requests that are being worked on.
    public let inFlight: Int
    /// How long handlers took, all together.
    public let seconds: Double

    init(_ stats: CasmFFI.ServiceStats) {
        calls = stats.calls
        failures = stats.failures
        inFlight = Int(stats.inFlight)
        seconds = stats.seconds
    }
}

/// The node in whose handler a task runs.
enum Handling {
    @TaskLocal static var node: ObjectIdentifier?
}

/// What is held by a node, and must not hold it.
final class Weak<Object: AnyObject & Sendable>: @unchecked Sendable {
    // Written once, here; the runtime guards the rest.
    private(set) weak var value: Object?

    init(_ value: Object) {
        self.value = value
    }
}

extension Node {
    /// Serves a service. Each request is handled in a task of its own, which is cancelled
    /// when nobody waits for its answer any more.
    ///
    /// ```swift
    /// try node.serve("upper") { request in
    ///     Data(String(decoding: request.data, as: UTF8.self).uppercased().utf8)
    /// }
    /// ```
    ///
    /// What the handler throws is the caller's error, of the kind
    /// ``CasmError/Kind/remote``, with the error's own text.
    ///
    /// - Parameters:
    ///   - name: 1 to 48 of `A-Z a-z 0-9 . _ -`.
    ///   - version: What the record says of it, beside its name.
    ///   - maxInflight: Requests that are worked on at once; more are sent on to others.
    ///   - listed: Whether the node's record says that it is served.
    ///   - allow: Roles of which a caller must have one in its certificate; this node may
    ///     call without. If there are none, everybody may. Without certificates nobody has
    ///     a role.
    ///   - handler: Gives `Data`, or a ``Reply`` with headers.
    @discardableResult
    public func serve<Answered: Answering>(
        _ name: String, version: String = "1", maxInflight: Int = 64, listed: Bool = true,
        allow: [String] = [], _ handler: @escaping @Sendable (Request) async throws -> Answered
    ) throws -> Serving {
        let options = try options(version, maxInflight, listed, allow)
        let listener = handled { request, asked in
            let reply = try await handler(asked).reply
            request.answer(data: reply.data, headers: reply.headers)
        }
        return Serving(
            try told { try ffi.serve(name: name, handler: listener, options: options) })
    }

    /// Serves a service that answers in parts. The answer is over when the handler returns.
    ///
    /// ```swift
    /// try node.serveStream("count") { request, parts in
    ///     for n in 1...3 { try await parts.send(Data("\(n)".utf8)) }
    /// }
    /// ```
    ///
    /// The parameters are those of ``serve(_:version:maxInflight:listed:allow:_:)``.
    @discardableResult
    public func serveStream(
        _ name: String, version: String = "1", maxInflight: Int = 64, listed: Bool = true,
        allow: [String] = [], _ handler: @escaping @Sendable (Request, Parts) async throws -> Void
    ) throws -> Serving {
        let options = try options(version, maxInflight, listed, allow)
        let listener = handled { request, asked in
            try await handler(asked, Parts(request))
            request.answer(data: Data())
        }
        return Serving(
            try told { try ffi.serveStream(name: name, handler: listener, options: options) })
    }

    /// The names of the services that this node serves.
    public func services() throws -> [String] { try told { try ffi.services() } }

    /// What a service that this node serves has done so far.
    public func serviceStats(_ name: String) throws -> ServiceStats {
        ServiceStats(try told { try ffi.serviceStats(name: name) })
    }

    private func options(
        _ version: String, _ maxInflight: Int, _ listed: Bool, _ allow: [String]
    ) throws -> ServeOptions {
        ServeOptions(
            version: version, maxInflight: try number("maxInflight", maxInflight), listed: listed,
            allow: allow)
    }

    /// A task for each request.
    private func handled(
        _ handler: @escaping @Sendable (CasmFFI.Request, Request) async throws -> Void
    ) -> Listening<CasmFFI.Request> {
        let node = ObjectIdentifier(ffi)
        return Listening { request in
            let task = Task {
                await Handling.$node.withValue(node) {
                    do {
                        try await handler(request, Request(request))
                    } catch {
                        request.fail(reason: reason(error))
                    }
                }
            }
            try request.onCancel(done: Listening<Void> { task.cancel() })
        }
    }
}
