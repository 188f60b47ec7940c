import Casm
import Foundation
import XCTest

/// Closures and feeds.
final class CallbackTests: XCTestCase {
    struct Refused: LocalizedError {
        var errorDescription: String? { "no, thank you" }
    }

    func testAClosureThatThrowsIsLoggedAndCountedAndDeliveryGoesOn() async throws {
        let logs = Notes<String>()
        try forwardLogs(.warn) { records in for record in records { logs.add(record.message) } }
        let node = try await node()
        let told = Notes<Change>()
        let subscription = try node.onChange { change in
            told.add(change)
            if told.all.count == 1 { throw Refused() }
        }
        await told.count(1)
        try await node.setHost("other", timeout: patience)
        await told.count(2)
        XCTAssertEqual(subscription.failed, 1)
        XCTAssertEqual(subscription.dropped, 0)
        try await until("it is logged") { logs.all.contains { $0.contains("no, thank you") } }
        subscription.cancel()
        try await node.setHost("third", timeout: patience)
        _ = try await node.waitFor(1, .matching(.host("third")), timeout: patience)
        try await close(node)
        XCTAssertEqual(told.all.count, 2)
    }

    func testLoggingIsSetUpTwiceAndAThrowingClosureIsCalledAgain() async throws {
        let told = Notes<Int>()
        let node = try await node()
        for n in 1...2 {
            try forwardLogs(.debug) { _ in
                told.add(n)
                throw Refused()
            }
            try await until("it is told, and told again") {
                // What can't be reached is worth a record.
                let nobody = Target("/ip4/127.0.0.1/tcp/1")
                await XCTAssertThrows(.unreachable, try await node.connect(nobody))
                return told.all.filter { $0 == n }.count > 1
            }
        }
        try forwardLogs(.off) { _ in }
        try await close(node)
    }

    func testASubscriptionGoesOnWithoutItsHandle() async throws {
        let node = try await node()
        let told = Notes<Change>()
        _ = try node.onChange { told.add($0) }
        await told.count(1)
        try await node.setHost("other", timeout: patience)
        await told.count(2)
        try await close(node)
    }

    func testEventsAreDeliveredByOneThreadPerNode() async throws {
        let (a, b) = try await pair()
        let threads = Notes<UInt>()
        let note: @Sendable (Change) -> Void = { _ in threads.add(threadNumber()) }
        try a.onChange { note($0) }
        try a.onChange(.matching(.host(""), prefix: true)) { note($0) }
        for n in 0..<5 { try await b.setHost("host-\(n)", timeout: patience) }
        await threads.count(8)
        XCTAssertEqual(Set(threads.all).count, 1)
        let main = await MainActor.run { threadNumber() }
        XCTAssertNotEqual(threads.all.first, main)
        let others = Notes<UInt>()
        try b.onChange { _ in others.add(threadNumber()) }
        await others.count(1)
        XCTAssertNotEqual(others.all.first, threads.all.first)
        try await close(a, b)
    }

    func testAClosureMayCallItsNode() async throws {
        let node = try await node()
        let told = Notes<Int>()
        try node.onChange { [weak node] _ in
            guard let node else { return }
            told.add(try node.view().count)
        }
        await told.count(1)
        XCTAssertEqual(told.all.first, 1)
        try await close(node)
    }

    func testCloseWorksFromInsideACallback() async throws {
        let node = try await node()
        let closed = Notes<Bool>()
        try node.onChange { _ in
            Task {
                try await node.close()
                closed.add(node.isClosed)
            }
        }
        await closed.count(1)
        XCTAssertEqual(closed.all, [true])
    }

    func testASlowReaderLosesTheOldestAndIsTold() async throws {
        let node = try await node()
        let topic = try node.topic("news")
        let feed = try topic.subscribe(queue: 2, echo: true)
        let told = try topic.subscribe(queue: 100, echo: true)
        for n in 0..<10 { try await topic.publish(Data("\(n)")) }
        // All have come to who has room for them.
        for _ in 0..<10 { _ = await told.next() }
        try await until("they are counted") { feed.dropped == 8 }
        let first = await feed.next()
        XCTAssertEqual(first?.data.text, "8")
        XCTAssertEqual(told.dropped, 0)
        try await close(node)
    }

    func testABufferedStreamHasItsPolicy() async throws {
        let node = try await node()
        let topic = try node.topic("news")
        let feed = try topic.subscribe(echo: true)
        let told = try topic.subscribe(echo: true)
        let stream = feed.buffered(.bufferingNewest(2))
        for n in 0..<10 { try await topic.publish(Data("\(n)")) }
        for _ in 0..<10 { _ = await told.next() }
        // What nobody takes is dropped by the stream, the oldest first, and not by the node.
        try await Task.sleep(for: .milliseconds(100))
        var seen: [String] = []
        for await message in stream {
            seen.append(message.data.text)
            if message.data.text == "9" { break }
        }
        XCTAssertEqual(seen, ["8", "9"])
        XCTAssertEqual(feed.dropped, 0)
        try await close(node)
    }

    func testTheEndOfABufferedStreamCancelsItsFeed() async throws {
        let node = try await node()
        let topic = try node.topic("news")
        for ending in ["the task is cancelled", "the loop is left", "the stream is let go of"] {
            var feed: Feed<Message>? = try topic.subscribe(echo: true)
            let kept = Weakly(feed)
            var stream = feed?.buffered()
            if ending == "the stream is let go of" {
                stream = nil
            } else if let looped = stream {
                stream = nil
                let came = Notes<String>()
                let task = Task {
                    for await message in looped {
                        came.add(message.data.text)
                        if ending == "the loop is left" { break }
                    }
                }
                try await topic.publish(Data("x"))
                await came.count(1)
                if ending == "the task is cancelled" { task.cancel() }
                await task.value
            }
            // It is over, though it is held.
            try await until("\(ending): it has ended") {
                try await topic.publish(Data("y"))
                return await feed?.next() == nil
            }
            XCTAssertNotNil(kept.object, ending)
            // What was taking its items has ended too: it would hold the feed.
            feed = nil
            try await until("\(ending): nothing holds it") { kept.object == nil }
        }
        try await close(node)
    }

    func testACancelledLoopEndsItsFeed() async throws {
        let node = try await node()
        let feed = try node.events()
        let loop = Task {
            for await _ in feed {}
            return Task.isCancelled
        }
        try await Task.sleep(for: .milliseconds(20))
        loop.cancel()
        let cancelled = await loop.value
        XCTAssertTrue(cancelled)
        try await node.setHost("other", timeout: patience)
        let after = await feed.next()
        XCTAssertNil(after)
        try await close(node)
    }

    func testSeveralLoopsShareAFeed() async throws {
        let node = try await node()
        let topic = try node.topic("news")
        let feed = try topic.subscribe(echo: true)
        let (came, began, ended) = (Notes<String>(), Notes<Int>(), Notes<Int>())
        for n in 1...3 {
            Task {
                began.add(n)
                for await message in feed { came.add(message.data.text) }
                ended.add(n)
            }
        }
        await began.count(3)
        for n in 0..<10 {
            try await topic.publish(Data("\(n)"))
            await came.count(n + 1)
        }
        // None takes the wait of another one for the end, and nothing comes twice.
        XCTAssertEqual(ended.all, [])
        XCTAssertEqual(came.all, (0..<10).map { "\($0)" })
        feed.cancel()
        await ended.count(3)
        try await close(node)
    }

    func testACancelledTaskEndsAFeedForWhichItWaitsInTurn() async throws {
        let node = try await node()
        let feed = try node.topic("news").subscribe(echo: true)
        let ended = Notes<Int>()
        let tasks = (1...2).map { n in
            Task {
                let item = await feed.next()
                XCTAssertNil(item)
                ended.add(n)
            }
        }
        try await Task.sleep(for: .milliseconds(20))
        XCTAssertEqual(ended.all, [])
        tasks[1].cancel()
        try await until("both have ended") { ended.all.count == 2 }
        try await close(node)
    }

    func testALoopThatIsLeftCanBeGoneOnWith() async throws {
        let node = try await node()
        let feed = try node.subscribe()
        for await _ in feed { break }
        try await node.setHost("other", timeout: patience)
        for await change in feed {
            guard case .updated(let record) = change else { return XCTFail("\(change)") }
            XCTAssertEqual(record.host, "other")
            break
        }
        feed.cancel()
        let after = await feed.next()
        XCTAssertNil(after)
        try await close(node)
    }
}

/// An object, as long as somebody else holds it.
final class Weakly<Object: AnyObject> {
    private(set) weak var object: Object?

    init(_ object: Object?) {
        self.object = object
    }
}

func threadNumber() -> UInt {
    #if os(Linux)
    pthread_self()
    #else
    UInt(bitPattern: pthread_self())
    #endif
}
