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

    func testAPeerIsReachedOverARelayUnlessItUsesNone() async throws {
        let limits = RelayLimits(
            reservations: 2, circuits: 4, circuitBytes: 1 << 32, circuitTime: .seconds(3600))
        let relay = try await Node.start(
            Config(
                namespace: "tests", listen: ["/ip4/127.0.0.1/tcp/0"], boot: ["none"], relay: true,
                relayLimits: limits))
        // The relay knows no address at which it reaches these: they come to it over TCP, and
        // listen on QUIC alone. Each is in another namespace: they don't hear of each other,
        // nor meet over QUIC.
        func hidden(_ namespace: String, useRelays: Bool) async throws -> Node {
            try await Node.start(
                Config(
                    namespace: namespace, listen: ["/ip4/127.0.0.1/udp/0/quic-v1"], boot: ["none"],
                    useRelays: useRelays, upnp: false))
        }
        let alone = try await hidden("alone", useRelays: false)
        let there = try await hidden("tests", useRelays: true)
        let other = try await node(of: "other")
        let (changes, events) = (try there.events(), try other.events())
        for one in [alone, there] {
            let id = try await one.connect(.peer(try relay.info()), timeout: patience)
            XCTAssertEqual(id, relay.id)
        }
        var over: String?
        for await event in changes {
            guard case .reachabilityChanged(let known) = event else { continue }
            over = known.addrs.first { $0.found == .relay }?.addr
            guard over != nil else { continue }
            XCTAssertEqual(known.reach, .private)
            break
        }
        let addr = try XCTUnwrap(over)
        XCTAssertTrue(addr.hasSuffix("/p2p/\(relay.id)/p2p-circuit"), addr)
        let id = try await other.connect(.addrs(["\(addr)/p2p/\(there.id)"]), timeout: patience)
        XCTAssertEqual(id, there.id)
        var relayed = false
        for await event in events {
            guard case .relayed(there.id) = event else { continue }
            relayed = true
            break
        }
        XCTAssertTrue(relayed)
        // It was there before, and asked for nothing.
        XCTAssertEqual(try alone.reachability().addrs, [])
        try await close(relay, alone, there, other)
    }
}
