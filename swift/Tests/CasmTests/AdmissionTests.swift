import Casm
import Foundation
import XCTest

/// Whom a node takes.
final class AdmissionTests: XCTestCase {
    /// Waits until a peer has left and is disconnected.
    private func putOut(_ peer: String, _ events: Feed<Event>) async {
        var (left, disconnected) = (false, false)
        for await event in events {
            switch event {
            case .peerLeft(peer, let reason):
                XCTAssertEqual(reason, .left)
                left = true
            case .disconnected(peer): disconnected = true
            default: break
            }
            if left, disconnected { return }
        }
    }

    func testADeniedPeerLeavesTheViewAndComesBackWhenItIsTakenAgain() async throws {
        let (a, b) = try await pair()
        let events = try a.events()
        try a.deny(b.id)
        await putOut(b.id, events)
        XCTAssertEqual(try a.view().count, 1)
        XCTAssertEqual(try a.denied(), [b.id])
        await XCTAssertThrows(.unreachable, b.id,
            try await a.connect(.addrs(try b.addrs()), timeout: patience))
        try a.undeny([b.id])
        let view = try await a.waitFor(2, timeout: patience)
        XCTAssertNotNil(try view.get(b.id))
        XCTAssertEqual(try a.denied(), [])
        try await close(a, b)
    }

    func testWhoIsNotAllowedIsPutOutAndComesBack() async throws {
        let (a, b) = try await pair()
        XCTAssertNil(try a.allowed())
        let events = try a.events()
        try a.setAllowed([])
        await putOut(b.id, events)
        XCTAssertEqual(try a.allowed(), [])
        try a.allow(Set([b.id]))
        _ = try await a.waitFor(2, timeout: patience)
        XCTAssertEqual(try a.allowed(), [b.id])
        try a.disallow(b.id)
        // Nobody, which is not everybody.
        XCTAssertEqual(try a.allowed(), [])
        try a.allowAll()
        XCTAssertNil(try a.allowed())
        try await close(a, b)
    }

    func testTheListsOfAStart() async throws {
        let (x, y) = (try Key.generate().peer, try Key.generate().peer)
        let key = try Key.generate()
        func start(_ allow: [String], _ deny: [String]) async throws -> Node {
            try await Node.start(
                Config(
                    namespace: "tests", listen: ["/ip4/127.0.0.1/tcp/0"], boot: ["none"], key: key,
                    allow: allow, deny: deny),
                timeout: patience)
        }
        await XCTAssertThrows(.config, key.peer, try await start([], [y, key.peer]))
        let (node, other) = (try await start([x], [y]), try await node())
        XCTAssertEqual(try node.allowed(), [x])
        XCTAssertEqual(try node.denied(), [y])
        await XCTAssertThrows(.unreachable,
            try await node.connect(.addrs(try other.addrs()), timeout: patience))
        try node.setDenied([x])
        XCTAssertEqual(try node.denied(), [x])
        try await close(node, other)
    }
}
