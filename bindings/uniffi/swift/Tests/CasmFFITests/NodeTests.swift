import Foundation
import XCTest

internal import CasmFFI

/// Fails at its first call.
private final class Flaky: ChangeListener, @unchecked Sendable {
    private let lock = NSLock()
    private var calls = 0
    let second = DispatchSemaphore(value: 0)

    struct Refused: Error {}

    func onChange(change: Change) throws {
        let nth = lock.withLock {
            calls += 1
            return calls
        }
        if nth == 1 { throw Refused() }
        second.signal()
    }
}

/// Keeps the streams it is given.
private final class Streams: StreamListener, @unchecked Sendable {
    private let lock = NSLock()
    private var stream: ByteStream?
    let came = DispatchSemaphore(value: 0)

    func onStream(stream: ByteStream, peer: String) throws {
        lock.withLock { self.stream = stream }
        came.signal()
    }

    func last() -> ByteStream? { lock.withLock { stream } }
}

/// Fails at every call.
private final class Logs: LogListener, Sendable {
    let told = DispatchSemaphore(value: 0)

    struct Refused: Error {}

    func onLogs(records: [LogRecord]) throws {
        for record in records where record.message.contains("Refused") { told.signal() }
        throw Refused()
    }
}

/// Keeps what it is told.
private final class Heard: MessageListener, @unchecked Sendable {
    private let lock = NSLock()
    private var data: [Data] = []
    let told = DispatchSemaphore(value: 0)

    func onMessage(message: Message) {
        lock.withLock { data.append(message.data) }
        told.signal()
    }

    func all() -> [Data] { lock.withLock { data } }
}

final class NodeTests: XCTestCase {
    func testTopic() throws {
        let first = try WrappedNode(meta: [:])
        let second = try WrappedNode(boot: try first.node.addrs()[0], meta: [:])
        let topic = try first.node.topic(name: "news", options: TopicOptions(maxData: 100))
        let theirs = try second.node.topic(name: "news")
        XCTAssertEqual(try topic.waitForPeers(n: 1, timeout: patience), [second.node.id()])
        let heard = Heard()
        _ = try theirs.onMessage(listener: heard)
        let messages = try theirs.subscribe(options: SubscribeOptions(queue: 8))
        let data = Data("hello".utf8)
        XCTAssertEqual(try topic.publish(data: data), 1)
        let message = try messages.next(timeout: patience)
        XCTAssertEqual(message?.source, first.node.id())
        XCTAssertEqual(message?.data, data)
        XCTAssertEqual(heard.told.wait(timeout: .now() + patience), .success)
        XCTAssertEqual(heard.all(), [data])
        XCTAssertThrowsError(try topic.publish(data: Data(count: 101)))
        XCTAssertThrowsError(try first.node.topic(name: "a/b"))
        try second.node.close(timeout: patience)
        XCTAssertNil(try messages.next(timeout: patience))
        try first.node.close(timeout: patience)
    }

    func testStartEventQueryErrorClose() async throws {
        let first = try WrappedNode(meta: ["role": "boss"])
        let joins = try first.joins()
        let changes = try first.node.subscribe(query: Query(matching: "meta:role=worker"))
        let second = try WrappedNode(
            boot: try first.node.addrs()[0], meta: ["role": "worker"])

        let view = try second.node.waitFor(n: 2, timeout: patience)
        XCTAssertEqual(view.len(), 2)
        XCTAssertEqual(
            try view.lookup(query: Query(matching: "meta:role=boss"))?.peer, first.node.id())
        let found = try view.iter(query: Query(matching: "meta:role=", prefix: true, limit: 5))
        XCTAssertEqual(found.map { $0.meta["role"] }, ["boss", "worker"])

        for await peer in joins where peer == second.node.id() { break }
        guard case .joined(let record) = try changes.next(timeout: patience) else {
            return XCTFail("no record joined")
        }
        XCTAssertEqual(record.host, try view.get(peer: second.node.id())?.host)

        let remote = try second.node.viewOf(peer: first.node.id(), timeout: patience)
        XCTAssertEqual(try remote.count(query: Query(), timeout: patience), 2)

        // Others see a node leave at once.
        try second.node.close(timeout: patience)
        try second.node.close(timeout: patience)
        guard case .left = try changes.next(timeout: patience) else {
            return XCTFail("no record left")
        }
        XCTAssertThrowsError(try second.node.view()) { error in
            guard case CasmError.Closed = error else { return XCTFail("\(error)") }
        }
        try first.node.close(timeout: patience)
        XCTAssertNil(try changes.next(timeout: patience))
    }

    func testAStreamCarriesBytesBothWays() throws {
        let (a, b) = (try WrappedNode().node, try WrappedNode().node)
        let streams = Streams()
        _ = try b.onStream(protocol: "/x/1", listener: streams)
        let here = try a.openStream(addrs: try b.addrs(), protocol: "/x/1", timeout: patience)
        XCTAssertEqual(streams.came.wait(timeout: .now() + patience), .success)
        let there = try XCTUnwrap(streams.last())
        XCTAssertEqual(there.peer(), a.id())
        try here.write(data: Data("hello".utf8), timeout: patience)
        try here.closeWrite(timeout: patience)
        XCTAssertEqual(try there.read(most: 100, timeout: patience), Data("hello".utf8))
        XCTAssertEqual(try there.read(most: 100, timeout: patience), Data())
        try there.close(timeout: patience)
        XCTAssertEqual(try here.read(most: 100, timeout: patience), Data())
        try a.close(timeout: patience)
        try b.close(timeout: patience)
    }

    func testAListenerThatThrowsIsCountedAndToldTheNextEvent() throws {
        let node = try WrappedNode().node
        let listener = Flaky()
        let subscription = try node.onChange(query: Query(), listener: listener)
        _ = try node.waitFor(n: 1, timeout: patience)
        try node.setHost(host: "first", timeout: patience)
        try node.setHost(host: "second", timeout: patience)
        XCTAssertEqual(listener.second.wait(timeout: .now() + patience), .success)
        XCTAssertEqual(subscription.failed(), 1)
        subscription.cancel()
        try node.close(timeout: patience)
    }

    func testWhatIsWrongIsNamedByKindAndValue() throws {
        XCTAssertThrowsError(try Node.start(config: Config(namespace: "a b"))) { error in
            guard case CasmError.Config(let message) = error else { return XCTFail("\(error)") }
            XCTAssert(message.contains("a b"), message)
            // What a user is shown.
            XCTAssert(error.localizedDescription.contains("a b"), error.localizedDescription)
        }
        let node = try WrappedNode().node
        XCTAssertThrowsError(try node.waitFor(n: 100, timeout: 0.01)) { error in
            guard case CasmError.Timeout = error else { return XCTFail("\(error)") }
        }
        XCTAssertThrowsError(try node.waitFor(n: 100, timeout: -.infinity)) { error in
            guard case CasmError.Config = error else { return XCTFail("\(error)") }
        }
        try node.close(timeout: patience)
    }

    func testLogRecordsAreForwardedAlsoAfterAListenerThatThrows() throws {
        let logs = Logs()
        try forwardLogs(level: .debug, listener: logs)
        for _ in 0..<2 {
            let node = try WrappedNode().node
            // What it throws at its first call is logged.
            _ = try node.onChange(query: Query(), listener: Flaky())
            XCTAssertEqual(logs.told.wait(timeout: .now() + patience), .success)
            try node.close(timeout: patience)
        }
        try forwardLogs(level: .off, listener: logs)
    }
}
