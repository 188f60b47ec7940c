import Casm
import Foundation
import XCTest

final class ChannelTests: XCTestCase {
    func testValuesAreHandedFromSendersToReceivers() async throws {
        let (a, b) = try await pair()
        let here = try a.channel("jobs", capacity: 10)
        let there = try await b.openChannel("jobs", at: .peer(a.id))
        XCTAssertEqual(there.name, "jobs")
        XCTAssertEqual(there.owner, a.id)
        XCTAssertNil(there.waiting)
        XCTAssertEqual(there.inDoubt, 0)
        try await there.send(Data("1"), timeout: patience)
        try await here.send(Data("2"))
        XCTAssertEqual(here.waiting, 2)
        let first = try await there.recv(timeout: patience)
        XCTAssertEqual(first.text, "1")
        try await here.close()
        var rest: [String] = []
        for try await value in there { rest.append(value.text) }
        XCTAssertEqual(rest, ["2"])
        await XCTAssertThrows(.closed, try await there.send(Data("3"), timeout: patience))
        await XCTAssertThrows(.closed, try await here.close())
        try await close(a, b)
    }

    func testAJobComesBackUnlessItIsDone() async throws {
        let node = try await node()
        let jobs = try node.channel("jobs", capacity: 10)
        try await jobs.send(Data("a"))
        let job = try await jobs.take(timeout: patience)
        XCTAssertEqual(job.data.text, "a")
        try await job.giveBack()
        XCTAssertTrue(job.isLost)
        do { _ = try await jobs.take(timeout: patience) }  // let go of
        let again = try await jobs.take(timeout: patience)
        XCTAssertFalse(again.isLost)
        try await again.done()
        XCTAssertEqual(jobs.waiting, 0)
        await XCTAssertThrows(.timeout, try await jobs.take(timeout: .milliseconds(10)))
        try await close(node)
    }

    func testALoopOverAChannelWhoseNodeClosesFails() async throws {
        let node = try await node()
        let channel = try node.channel("c")
        let loop = Task { for try await _ in channel {} }
        try await Task.sleep(for: .milliseconds(20))
        try await close(node)
        await XCTAssertThrows(.closed, try await loop.value)
    }

    func testSelectDoesOneThing() async throws {
        let node = try await node()
        let (a, b) = (try node.channel("a", capacity: 1), try node.channel("b", capacity: 1))
        try await b.send(Data("x"))
        let got = try await select([a.receiving(), b.receiving()], timeout: patience)
        XCTAssertEqual(got.index, 1)
        XCTAssertEqual(got.value?.text, "x")
        let sent = try await select([a.sending(Data("y"))])
        XCTAssertEqual(sent.index, 0)
        XCTAssertNil(sent.value)
        XCTAssertEqual(a.waiting, 1)
        await XCTAssertThrows(.timeout, try await select([b.receiving()], timeout: .milliseconds(10)))
        await XCTAssertThrows(.invalid, try await select([]))
        // One that is cancelled has had no effect.
        let selecting = Task { try await select([b.receiving(), a.sending(Data("z"))]) }
        try await Task.sleep(for: .milliseconds(20))
        selecting.cancel()
        _ = await thrown(try await selecting.value)
        XCTAssertEqual(a.waiting, 1)
        try await b.send(Data("w"))
        XCTAssertEqual(b.waiting, 1)
        try await close(node)
    }

    func testASemaphoreGivesLeasesWithGrowingTokens() async throws {
        let (a, b) = try await pair()
        let here = try await a.semaphore("leader", 1)
        let there = try await b.openSemaphore("leader", at: .peer(a.id))
        XCTAssertEqual(there.name, "leader")
        XCTAssertEqual(there.owner, a.id)
        let first = try await there.acquire(timeout: patience)
        XCTAssertFalse(first.isLost)
        await XCTAssertThrows(.timeout, try await here.acquire(timeout: .milliseconds(10)))
        await XCTAssertThrows(.timeout, try await first.waitLost(timeout: .milliseconds(10)))
        first.release()
        try await first.waitLost(timeout: patience)
        let second = try await here.acquire(timeout: patience)
        XCTAssertGreaterThan(second.token, first.token)
        // A lease that nobody takes goes back.
        let waiting = Task { try await there.acquire() }
        try await Task.sleep(for: .milliseconds(20))
        waiting.cancel()
        _ = await thrown(try await waiting.value)
        second.release()
        let third = try await here.acquire(timeout: patience)
        third.release()
        try here.close()
        await XCTAssertThrows(.closed, try await here.acquire())
        try await close(a, b)
    }
}
