import Casm
import Foundation
import XCTest

final class TopicTests: XCTestCase {
    func testWhatIsPublishedComesToAllWhoHaveJoined() async throws {
        let (a, b) = try await pair()
        let (mine, theirs) = (try a.topic("news", maxData: 100), try b.topic("news"))
        XCTAssertEqual(mine.name, "news")
        XCTAssertEqual(mine.fullName, "/casm/1.0.0/tests/topic/news")
        let heard = Notes<Message>()
        let subscription = try theirs.onMessage { heard.add($0) }
        let messages = try theirs.subscribe(queue: 8, full: .dropNewest)
        let peers = try await mine.waitForPeers(1, timeout: patience)
        XCTAssertEqual(peers, [b.id])
        XCTAssertEqual(try mine.peers(), [b.id])
        let sent = try await mine.publish(Data("hello"))
        XCTAssertEqual(sent, 1)
        let message = await messages.next()
        XCTAssertEqual(message?.source, a.id)
        XCTAssertEqual(message?.data.text, "hello")
        await heard.count(1)
        XCTAssertEqual(heard.all.first, message)
        XCTAssertEqual(subscription.failed, 0)
        await XCTAssertThrows(.tooLarge, "101", try await mine.publish(Data(count: 101)))
        mine.close()
        await XCTAssertThrows(.closed, try await mine.publish(Data()))
        try await close(a, b)
    }

    func testOnlyWhoIsAcceptedIsHeard() async throws {
        let a = try await node()
        let b = try await node(meeting: [a], meta: ["role": "chief"])
        _ = try await a.waitFor(2, timeout: patience)
        let mine = try a.topic("orders", accept: .matching(.meta("role", "chief")))
        let messages = try mine.subscribe()
        let theirs = try b.topic("orders", accept: .matching(.meta("role", "chief")))
        try await theirs.waitForPeers(1, timeout: patience)
        try await theirs.publish(Data("go"))
        let message = await messages.next()
        XCTAssertEqual(message?.source, b.id)
        try await close(a, b)
    }
}
