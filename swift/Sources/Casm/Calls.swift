internal import CasmFFI
public import Foundation

/// What a service answers.
public struct Answer: Sendable, Hashable {
    /// The id of who answered.
    public let peer: String
    /// The answer.
    public let data: Data
    /// What comes along with it.
    public let headers: [String: String]

    init(_ answer: CasmFFI.Answer) {
        peer = answer.peer
        data = answer.data
        headers = answer.headers
    }
}

/// What one of those that were asked said.
public struct PeerReply: Sendable, Hashable {
    /// The id of who was asked.
    public let peer: String
    /// Its answer, or why there is none.
    public let result: Result<Reply, CasmError>

    /// Its answer.
    public var data: Data? { try? result.get().data }

    /// What came along with the answer.
    public var headers: [String: String] { (try? result.get().headers) ?? [:] }

    /// Why there is no answer.
    public var error: CasmError? {
        guard case .failure(let error) = result else { return nil }
        return error
    }

    init(_ reply: CasmFFI.PeerReply) {
        peer = reply.peer
        if let data = reply.data {
            result = .success(Reply(data, headers: reply.headers))
        } else {
            let kind = CasmError.Kind(rawValue: reply.errorKind ?? "Internal")
            result = .failure(CasmError(kind, reply.error ?? ""))
        }
    }
}

/// The replies of all that were asked, as they come. Nothing is buffered in Swift; a task
/// that is cancelled, or letting go of it, calls off what is under way.
public final class Replies: AsyncSequence, Sendable {
    public typealias Element = PeerReply

    /// Why there is no further reply.
    public enum Ended: String, Sendable, Hashable {
        /// All have answered.
        case all
        /// So many have answered as were wanted.
        case limit
        /// The time was over.
        case timeout
    }

    private let source: Source<PeerReply>
    private let ffi: ReplyStream

    init(_ ffi: ReplyStream, of node: CasmFFI.Node) {
        self.ffi = ffi
        source = Source(of: node, ffi, PeerReply.init)
    }

    deinit { source.cancel() }

    /// Waits for the next reply; `nil` when there is none any more.
    public func next() async throws -> PeerReply? { try await source.next() }

    /// Why there is no further reply; `nil` as long as there may be one.
    public var ended: Ended? { ffi.ended().flatMap(Ended.init) }

    /// Calls off what is still under way.
    public func cancel() { source.cancel() }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(replies: self) }

    /// One loop's place in it.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let replies: Replies

        public mutating func next() async throws -> PeerReply? { try await replies.next() }
    }
}

extension Node {
    /// Asks a member that serves this, and gives its answer.
    ///
    /// - Parameters:
    ///   - name: The service.
    ///   - data: What is asked, at most 1 MiB.
    ///   - peer: Whom to ask, and nobody else.
    ///   - where: Which members may be asked.
    ///   - headers: What goes along with the request: at most 16, with 4 KiB in all.
    ///   - timeout: How long to wait; `nil` for no limit.
    ///   - wait: Whether to wait until somebody serves it.
    ///   - idempotent: Whether it may be worked on twice.
    /// - Throws: ``CasmError/Kind/notFound`` if nobody serves it,
    ///   ``CasmError/Kind/remote`` with what the handler threw, ``CasmError/Kind/timeout``,
    ///   ``CasmError/Kind/unreachable``, ``CasmError/Kind/busy``, ``CasmError/Kind/tooLarge``,
    ///   ``CasmError/Kind/paused``.
    public func call(
        _ name: String, _ data: Data = Data(), peer: Target? = nil, `where`: Query? = nil,
        headers: [String: String] = [:], timeout: Duration? = .seconds(10), wait: Bool = false,
        idempotent: Bool = false
    ) async throws -> Answer {
        let options = CallOptions(
            peer: peer?.text, matching: try `where`?.ffi(), headers: headers,
            timeout: limit(timeout), wait: wait, idempotent: idempotent)
        return Answer(
            try await waiting { ffi.startCall(name: name, data: data, options: options) })
    }

    /// Asks all who serve this now, and gives what they answer as it comes.
    ///
    /// - Parameters:
    ///   - name: The service.
    ///   - data: What is asked, at most 1 MiB.
    ///   - where: Which members may be asked.
    ///   - headers: What goes along with the request: at most 16, with 4 KiB in all.
    ///   - timeout: How long to wait for all of them; `nil` for no limit.
    ///   - limit: The most replies.
    public func callAll(
        _ name: String, _ data: Data = Data(), `where`: Query? = nil,
        headers: [String: String] = [:], timeout: Duration? = .seconds(10), limit: Int? = nil
    ) throws -> Replies {
        let options = CallAllOptions(
            matching: try `where`?.ffi(), headers: headers, timeout: Casm.limit(timeout),
            limit: try number("limit", ifAny: limit))
        return Replies(
            try told { try ffi.callAll(name: name, data: data, options: options) }, of: ffi)
    }

    /// Asks a member for an answer in parts, which come as they are asked for. The
    /// parameters are those of
    /// ``call(_:_:peer:where:headers:timeout:wait:idempotent:)``; there is no limit of time
    /// if nothing else is said.
    public func callStream(
        _ name: String, _ data: Data = Data(), peer: Target? = nil, `where`: Query? = nil,
        headers: [String: String] = [:], timeout: Duration? = nil, wait: Bool = false,
        idempotent: Bool = false
    ) throws -> Results<Data> {
        let options = CallOptions(
            peer: peer?.text, matching: try `where`?.ffi(), headers: headers,
            timeout: limit(timeout), wait: wait, idempotent: idempotent)
        let parts = try told { try ffi.callStream(name: name, data: data, options: options) }
        return Results(Source(of: ffi, parts) { (part: Data) in part })
    }
}
