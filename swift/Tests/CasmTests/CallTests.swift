import Casm
import Foundation
import XCTest

/// What waits: cancelled, late, and many at a time.
final class CallTests: XCTestCase {
    func testCancellingATaskCancelsTheCallUnderneath() async throws {
        let node = try await node()
        let channel = try node.channel("c")
        let receiving = Task { try await channel.recv() }
        // It waits: a send finds it.
        try await channel.send(Data("a"), timeout: patience)
        let first = try await receiving.value
        XCTAssertEqual(first.text, "a")

        let cancelled = Task { try await channel.recv() }
        try await Task.sleep(for: .milliseconds(20))
        cancelled.cancel()
        let error = await thrown(try await cancelled.value)
        XCTAssert(error is CancellationError, "\(String(describing: error))")
        // Nobody receives any more.
        await XCTAssertThrows(.timeout, try await channel.send(Data("b"), timeout: .milliseconds(50)))
        try await close(node)
    }

    func testACallOfACancelledTaskBeginsNothing() async throws {
        let node = try await node()
        let channel = try node.channel("c", capacity: 1)
        let (gate, open) = AsyncStream.makeStream(of: Void.self)
        let sending = Task {
            for await _ in gate {}
            try await channel.send(Data("a"))
        }
        sending.cancel()
        open.finish()
        let error = await thrown(try await sending.value)
        XCTAssert(error is CancellationError, "\(String(describing: error))")
        XCTAssertEqual(channel.waiting, 0)
        try await close(node)
    }

    func testACancellationAtAnyMomentLosesNoValue() async throws {
        let node = try await node()
        let channel = try node.channel("c", capacity: 1000)
        let received = Notes<String>()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for n in 0..<300 {
                let receiving = Task { received.add(try await channel.recv().text) }
                group.addTask { try await channel.send(Data("\(n)")) }
                group.addTask {
                    for _ in 0..<(n % 7) { await Task.yield() }
                    if n % 3 == 0 { try await Task.sleep(for: .microseconds(n * 3)) }
                    receiving.cancel()
                    _ = await receiving.result
                }
            }
            try await group.waitForAll()
        }
        try await channel.close()
        for try await value in channel { received.add(value.text) }
        XCTAssertEqual(received.all.count, 300)
        XCTAssertEqual(Set(received.all).count, 300)
        try await close(node)
    }

    func testNoCallHoldsAThreadOfSwifts() async throws {
        let node = try await node()
        let channel = try node.channel("c")
        try await withThrowingTaskGroup(of: Data.self) { group in
            for _ in 0..<200 { group.addTask { try await channel.recv(timeout: patience) } }
            // More wait than Swift has threads, and all goes on.
            for n in 0..<200 { try await channel.send(Data("\(n)"), timeout: patience) }
            var values: [Data] = []
            for try await value in group { values.append(value) }
            XCTAssertEqual(Set(values).count, 200)
        }
        try await close(node)
    }

    func testADeadlineIsATimeoutAndNamesTheCall() async throws {
        let node = try await node()
        await XCTAssertThrows(.timeout, "wait_for", try await node.waitFor(100, timeout: .milliseconds(10)))
        await XCTAssertThrows(.config, "timeout", try await node.waitFor(100, timeout: .seconds(-1)))
        try await close(node)
    }

    func testACancelledTaskCanStillClose() async throws {
        let (a, b) = try await pair()
        let changes = try a.subscribe(.matching(.peer(b.id)))
        let closing = Task {
            while !Task.isCancelled { await Task.yield() }
            try await b.close()
        }
        closing.cancel()
        try await closing.value
        XCTAssertTrue(b.isClosed)
        guard case .current = await changes.next(), case .left = await changes.next() else {
            return XCTFail("it did not leave")
        }
        try await close(a)
    }

    func testACloseEndsWhatWaits() async throws {
        let node = try await node()
        let channel = try node.channel("c")
        let receiving = Task { try await channel.recv() }
        let events = try node.events()
        let hearing = Task { for await _ in events {} }
        try await Task.sleep(for: .milliseconds(20))
        try await node.close()
        await XCTAssertThrows(.closed, try await receiving.value)
        await hearing.value
    }
}
