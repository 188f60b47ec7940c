import Casm
import XCTest

final class ReachTests: XCTestCase {
    func testWhoAnnouncesAnAddressIsPublicAndOfOthersNothingIsKnown() async throws {
        let addr = "/ip4/203.0.113.7/tcp/4001"
        let listen = ["/ip4/127.0.0.1/tcp/0"]
        let open = try await Node.start(
            Config(namespace: "tests", listen: listen, boot: ["none"], announce: [addr]))
        let known = try open.reachability()
        XCTAssertEqual(known.reach, .public)
        XCTAssertEqual(known.addrs.map(\.addr), [addr])
        XCTAssertEqual(known.addrs.map(\.found), [.announced])
        let fresh = try await node()
        XCTAssertEqual(try fresh.reachability().reach, .unknown)
        XCTAssertEqual(try fresh.reachability().addrs, [])
        try await close(open, fresh)
    }

    func testARelayAndOneThatUsesNoneConnectAsAnyNodeDoes() async throws {
        let listen = ["/ip4/127.0.0.1/tcp/0"]
        let limits = RelayLimits(
            reservations: 2, circuits: 4, circuitBytes: 1 << 32, circuitTime: .seconds(60))
        let relay = try await Node.start(
            Config(
                namespace: "tests", listen: listen, boot: ["none"], relay: true,
                relayLimits: limits))
        let other = try await Node.start(
            Config(namespace: "tests", listen: listen, boot: ["none"], useRelays: false, upnp: false))
        let id = try await other.connect(.peer(try relay.info()), timeout: patience)
        XCTAssertEqual(id, relay.id)
        let view = try await other.waitFor(2, timeout: patience)
        XCTAssertNotNil(try view.get(relay.id))
        try await close(relay, other)
    }
}
