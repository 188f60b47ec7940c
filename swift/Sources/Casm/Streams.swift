internal import CasmFFI

/// What goes on until it is cancelled or the node closes: events, changes, messages.
///
/// ```swift
/// for await event in try node.events() {
///     print(event)
/// }
/// ```
///
/// **Buffering.** What comes waits in the node, in one queue: of at most 4,096 events or
/// changes, and of as many messages as the subscription said. When nobody takes them in
/// time, the oldest are dropped (of messages the newest, if that was asked for), and
/// ``dropped`` counts them. Nothing is buffered in Swift, so that nothing is lost a second
/// time; ``buffered(_:)`` gives an `AsyncStream` with a buffer of its own.
///
/// It ends when the node closes, when it is cancelled, and when a task that waits for the
/// next item is cancelled. What has come meanwhile is gone then. Each item goes to one
/// loop, also where several tasks loop over it at the same time; leaving a loop ends
/// nothing, and another may go on.
public final class Feed<Element: Sendable>: AsyncSequence, Sendable {
    private let source: Source<Element>
    private let lost: @Sendable () -> UInt64

    init(_ source: Source<Element>, lost: @escaping @Sendable () -> UInt64) {
        self.source = source
        self.lost = lost
    }

    deinit { source.cancel() }

    /// Waits for the next item; `nil` when it is over.
    public func next() async -> Element? {
        // Only the end of the node, or of the task, can be told here.
        try? await source.next()
    }

    /// Ends it, also for who is waiting.
    public func cancel() { source.cancel() }

    /// How many items were lost because nobody took them in time.
    public var dropped: UInt64 { lost() }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(feed: self) }

    /// One loop's place in it.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let feed: Feed

        public mutating func next() async -> Element? { await feed.next() }
    }

    /// The same as an `AsyncStream`, which takes what comes at once and keeps what nobody
    /// has taken yet: the newest 1,024 if nothing else is said. When the stream ends, this
    /// is cancelled. What the buffer drops isn't in ``dropped``.
    public func buffered(
        _ policy: AsyncStream<Element>.Continuation.BufferingPolicy = .bufferingNewest(1024)
    ) -> AsyncStream<Element> {
        AsyncStream(bufferingPolicy: policy) { continuation in
            let pump = Task {
                while let item = await self.next() { continuation.yield(item) }
                continuation.finish()
            }
            continuation.onTermination = { _ in
                self.cancel()
                pump.cancel()
            }
        }
    }
}

/// What comes to an end by itself, or fails: peers that are found, records of another
/// node's view, parts of an answer.
///
/// ```swift
/// for try await part in try node.callStream("tail", Data("app.log".utf8)) {
///     print(part.count)
/// }
/// ```
///
/// **Buffering.** Nothing is buffered in Swift, and nothing is lost: who sends waits until
/// the loop asks for more. (Only peers that are found are dropped if more than 4,096 wait.)
///
/// A task that is cancelled ends it with `CancellationError`, and calls off what is under
/// way; so does letting go of it. Several tasks may wait for items: each goes to one.
public final class Results<Element: Sendable>: AsyncSequence, Sendable {
    private let source: Source<Element>

    init(_ source: Source<Element>) {
        self.source = source
    }

    deinit { source.cancel() }

    /// Waits for the next item; `nil` after the last one.
    public func next() async throws -> Element? { try await source.next() }

    /// Calls it off, also for who is waiting.
    public func cancel() { source.cancel() }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(results: self) }

    /// One loop's place in it.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let results: Results

        public mutating func next() async throws -> Element? { try await results.next() }
    }

    /// The same as an `AsyncThrowingStream`, without a buffer: it asks for the next item when
    /// it is asked. When the stream ends, also with the task that loops over it, or is let go
    /// of, this is cancelled.
    public func stream() -> AsyncThrowingStream<Element, any Error> {
        let asked = Asked(results: self)
        return AsyncThrowingStream(unfolding: { try await asked.results.next() })
    }

    /// What a stream has as long as it goes on: one that asks has no `onTermination`, and
    /// one whose task was cancelled meanwhile asks no more.
    private final class Asked: Sendable {
        let results: Results

        init(results: Results) {
            self.results = results
        }

        deinit { results.cancel() }
    }

    /// All that comes.
    public func all() async throws -> [Element] {
        var all: [Element] = []
        while let item = try await next() { all.append(item) }
        return all
    }
}

/// Where items come from. It keeps the node: who is in a loop over its events need not.
struct Source<Item: Sendable>: Sendable {
    private let pull: @Sendable () async throws -> Item?
    private let end: @Sendable () -> Void
    /// The library refuses a second call while one waits.
    private let turns = Turns()

    init<P: Pulled, Given>(
        of node: CasmFFI.Node, _ pulled: P, _ item: @escaping @Sendable (Given) -> Item
    ) where P.Next.Value == Given? {
        pull = {
            _ = node
            return try await waiting { pulled.startNext(timeout: nil) }.map(item)
        }
        end = { pulled.cancel() }
    }

    func next() async throws -> Item? {
        try await withTaskCancellationHandler {
            await turns.take()
            defer { turns.give() }
            return try await pull()
        } onCancel: {
            end()
        }
    }

    func cancel() { end() }
}

/// What is pulled out of the library.
protocol Pulled: AnyObject, Sendable {
    associatedtype Next: Pending

    func startNext(timeout: Double?) -> Next
    func cancel()
}

extension EventStream: Pulled {}
extension ChangeStream: Pulled {}
extension MessageStream: Pulled {}
extension PeerStream: Pulled {}
extension RecordStream: Pulled {}
extension ReplyStream: Pulled {}
extension PartStream: Pulled {}
