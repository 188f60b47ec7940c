internal import CasmFFI
public import Foundation

/// A message of a topic.
public struct Message: Sendable, Hashable, Codable {
    /// The peer id of who published it: the signature is this peer's.
    public let source: String
    /// Its number: no other message of this source has it. Numbers have gaps.
    public let seq: UInt64
    /// What was published.
    public let data: Data

    init(_ message: CasmFFI.Message) {
        source = message.source
        seq = message.seq
        data = message.data
    }
}

/// A handle of a topic: one to all. All handles of a topic in one node share it; it is
/// left with the last of them and of their subscriptions, or with the node.
///
/// ```swift
/// let news = try node.topic("news")
/// try await news.publish(Data("hello".utf8))
/// for await message in try news.subscribe() {
///     print(message.source, message.data.count)
/// }
/// ```
public final class Topic: Sendable {
    /// Which messages are lost when more come than wait.
    public enum Full: String, Sendable, Hashable {
        /// Those that have waited longest.
        case dropOldest = "drop_oldest"
        /// Those that come.
        case dropNewest = "drop_newest"
    }

    private let ffi: CasmFFI.Topic
    private let node: CasmFFI.Node

    init(_ ffi: CasmFFI.Topic, of node: CasmFFI.Node) {
        self.ffi = ffi
        self.node = node
    }

    /// The topic's name, as it was given.
    public var name: String { ffi.name() }

    /// What gossip calls it: `/casm/1.0.0/<namespace>/topic/<name>`, or its exact name.
    public var fullName: String { ffi.fullName() }

    /// Publishes, and says to how many peers the message was sent; they hand it on. 0 is no
    /// error.
    ///
    /// - Parameters:
    ///   - data: As long as the topic takes: 60 KiB if nothing else was said.
    ///   - timeout: How long to wait at most while the node's own queues are full.
    /// - Throws: ``CasmError/Kind/tooLarge``, ``CasmError/Kind/timeout``,
    ///   ``CasmError/Kind/paused``.
    @discardableResult
    public func publish(_ data: Data, timeout: Duration = .seconds(10)) async throws -> Int {
        Int(try await waiting { ffi.startPublish(data: data, timeout: timeout.inSeconds) })
    }

    /// What comes from now on.
    ///
    /// - Parameters:
    ///   - queue: Messages that may wait, 1 to 1,048,576.
    ///   - full: Which are lost when more come.
    ///   - echo: Whether the node's own messages come too.
    public func subscribe(queue: Int = 1024, full: Full = .dropOldest, echo: Bool = false) throws
        -> Feed<Message>
    {
        let options = try options(queue, full, echo)
        let messages = try told { try ffi.subscribe(options: options) }
        return Feed(Source(of: node, messages, Message.init)) { messages.dropped() }
    }

    /// Calls a closure with what comes from now on, on the node's thread for closures. What
    /// it throws is logged and counted. The parameters are those of
    /// ``subscribe(queue:full:echo:)``.
    @discardableResult
    public func onMessage(
        queue: Int = 1024, full: Full = .dropOldest, echo: Bool = false,
        _ closure: @escaping @Sendable (Message) throws -> Void
    ) throws -> Subscription {
        let options = try options(queue, full, echo)
        return Subscription(
            try told { try ffi.onMessage(listener: Listening(closure), options: options) })
    }

    /// The ids of the connected peers that have joined the topic.
    public func peers() throws -> [String] { try told { try ffi.peers() } }

    /// Waits until so many connected peers have joined the topic, and gives their ids.
    @discardableResult
    public func waitForPeers(_ n: Int, timeout: Duration? = nil) async throws -> [String] {
        let n = try number("n", n)
        return try await waiting { ffi.startWaitForPeers(n: n, timeout: timeout?.inSeconds) }
    }

    /// Lets the handle go; others, and subscriptions, go on.
    public func close() { ffi.close() }

    private func options(_ queue: Int, _ full: Full, _ echo: Bool) throws -> SubscribeOptions {
        SubscribeOptions(queue: try number("queue", queue), full: full.rawValue, echo: echo)
    }
}

extension Node {
    /// A handle of a topic, which the node joins if it has not.
    ///
    /// - Parameters:
    ///   - name: 1 to 48 of `A-Z a-z 0-9 . _ -`.
    ///   - exact: Whether the name is taken as it is, for a topic of other libp2p programs.
    ///   - maxData: The most bytes of data, 1 to 1,024,000; 61,440 if nothing is said.
    ///   - accept: Takes the messages of those alone whose record this finds. Give all
    ///     members the same.
    public func topic(
        _ name: String, exact: Bool = false, maxData: Int? = nil, accept: Query? = nil
    ) throws -> Topic {
        let options = TopicOptions(
            exact: exact, maxData: try number("maxData", ifAny: maxData), accept: try accept?.ffi())
        return Topic(try told { try ffi.topic(name: name, options: options) }, of: ffi)
    }
}
