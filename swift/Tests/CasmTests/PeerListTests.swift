import Casm
import Observation
import PeerList
import XCTest

final class PeerListTests: XCTestCase {
    // XCTest on Linux knows no class of the main actor.
    func testTheListShowsWhoIsThereAndFollowsTheAppsLife() async throws { try await Self.follows() }

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
    private static func fails() async throws {
        let list = PeerList()
        await list.run(Config(namespace: "a b", boot: ["none"]))
        XCTAssert(try XCTUnwrap(list.problem).contains("a b"))
        XCTAssertNil(list.own)
    }
}
