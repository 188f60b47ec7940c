import Casm
import Observation
import PeerList
import XCTest

final class PeerListTests: XCTestCase {
    // XCTest on Linux knows no class of the main actor.
    func testTheListShowsWhoIsThereAndFollowsTheAppsLife() async throws { try await Self.follows() }

    func testAnAppThatGoesToTheBackgroundWhileItsNodeStartsHasItPaused() async throws {
        try await Self.startsInBackground()
    }

    func testWhatGoesWrongIsShown() async throws { try await Self.fails() }

    @MainActor
    private static func follows() async throws {
        let other = try await node(host: "b")
        let list = PeerList()
        let config = Config(
            namespace: "tests", listen: ["/ip4/127.0.0.1/tcp/0"], boot: try other.addrs(), host: "a")
        let seen = Notes<Bool>()
        withObservationTracking {
            _ = list.peers
        } onChange: {
            seen.add(true)
        }
        let running = Task { await list.run(config) }
        try await until("both are shown") { list.peers.map(\.host) == ["a", "b"] }
        // A view that shows it is told.
        XCTAssertEqual(seen.all, [true])
        let own = try XCTUnwrap(list.own)
        XCTAssertNil(list.problem)

        try await other.setHost("0", timeout: patience)
        try await until("they are in their order") { list.peers.map(\.host) == ["0", "a"] }

        let changes = try other.subscribe(.matching(.peer(own)))
        guard case .current = await changes.next() else { return XCTFail("not there") }
        await list.scene(isActive: false)
        guard case .left = await changes.next() else { return XCTFail("it did not leave") }
        await list.scene(isActive: true)
        guard case .joined = await changes.next() else { return XCTFail("it did not come back") }

        // The view disappears.
        running.cancel()
        await running.value
        guard case .left = await changes.next() else { return XCTFail("it did not leave") }
        XCTAssertEqual(list.peers, [])
        XCTAssertNil(list.own)
        try await other.close()
    }

    @MainActor
    private static func startsInBackground() async throws {
        let other = try await node(host: "b")
        let list = PeerList()
        let config = Config(
            namespace: "tests", listen: ["/ip4/127.0.0.1/tcp/0"], boot: try other.addrs(), host: "a")
        let running = Task { await list.run(config) }
        // It has begun to start, and nothing more: this is one turn of the main actor.
        await Task.yield()
        XCTAssertNil(list.own)
        await list.scene(isActive: false)
        XCTAssertNil(list.own)
        try await until("it is paused") { list.isPaused }
        let own = try XCTUnwrap(list.own)
        XCTAssertNil(list.problem)
        try await until("nobody sees it") { try other.view().get(own) == nil }
        await list.scene(isActive: true)
        XCTAssertFalse(list.isPaused)
        _ = try await other.waitFor(1, .matching(.peer(own)), timeout: patience)
        try await until("both are shown") { list.peers.map(\.host) == ["a", "b"] }

        // What was remembered of one run holds for the next.
        running.cancel()
        await running.value
        await list.scene(isActive: false)
        let again = Task { await list.run(config) }
        try await until("it is paused again") { list.isPaused }
        again.cancel()
        await again.value
        XCTAssertFalse(list.isPaused)
        try await other.close()
    }

    @MainActor
    private static func fails() async throws {
        let list = PeerList()
        await list.run(Config(namespace: "a b", boot: ["none"]))
        XCTAssert(try XCTUnwrap(list.problem).contains("a b"))
        XCTAssertNil(list.own)
    }
}
