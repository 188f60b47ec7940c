import Casm
import Foundation
import XCTest

final class NodeTests: XCTestCase {
    func testNodesFindSeeAndFollowEachOther() async throws {
        let first = try await node(meta: ["role": "boss"])
        let events = try first.events()
        let changes = try first.subscribe(.matching(.meta("role", "worker")))
        let second = try await node(meeting: [first], meta: ["role": "worker"])

        let view = try await second.waitFor(2, timeout: patience)
        XCTAssertEqual(view.count, 2)
        XCTAssertEqual(view.map(\.peer).sorted(), [first.id, second.id].sorted())
        XCTAssertEqual(try view.first(.matching(.meta("role", "boss")))?.peer, first.id)
        let found = try view.records(.matching(.meta("role", ""), prefix: true, limit: 5))
        XCTAssertEqual(found.map { $0.meta["role"] }, ["boss", "worker"])
        XCTAssertEqual(try view.count("meta:role=worker"), 1)
        let record = try XCTUnwrap(try view.get(first.id))
        XCTAssertTrue(record.isVerified)
        XCTAssertEqual(record.ttl, .seconds(10))
        XCTAssertEqual(try view.first(.matching(.server(record.server)))?.peer, first.id)

        for await event in events {
            if case .peerJoined(let record) = event, record.peer == second.id { break }
        }
        guard case .joined(let joined) = await changes.next() else {
            return XCTFail("no record joined")
        }
        XCTAssertEqual(joined.id, second.id)

        let remote = try await second.viewOf(.record(record), timeout: patience)
        XCTAssertEqual(remote.peer, first.id)
        let count = try await remote.count(timeout: patience)
        XCTAssertEqual(count, 2)
        let all = try await remote.records().all()
        XCTAssertEqual(Set(all.map(\.peer)), [first.id, second.id])
        let one = try await remote.first(.matching(.meta("role", "worker")), timeout: patience)
        XCTAssertEqual(one?.peer, second.id)
        let same = try await remote.get(first.id, timeout: patience)
        XCTAssertEqual(same?.host, record.host)

        // Others see a node leave at once.
        try await close(second)
        guard case .left(let left) = await changes.next() else { return XCTFail("none left") }
        XCTAssertEqual(left.peer, second.id)
        try await close(first)
        let end = await changes.next()
        XCTAssertNil(end)
    }

    func testAStartTellsTheFirstEvent() async throws {
        let told = Notes<Event>()
        let node = try await node { told.add($0) }
        await told.count(1)
        guard case .listening(let peer, let addrs)? = told.all.first else {
            return XCTFail("\(told.all)")
        }
        XCTAssertEqual(peer, node.id)
        XCTAssertEqual(addrs, try node.addrs())
        try await close(node)
    }

    func testWhatANodeSaysOfItselfChanges() async throws {
        let (a, b) = try await pair()
        try await b.setMeta(["a": "1", "b": "2"], timeout: patience)
        try await b.updateMeta(["a": nil, "c": "3"], timeout: patience)
        try await b.setHost("here", timeout: patience)
        try await b.setTTL(.seconds(20), timeout: patience)
        _ = try await a.waitFor(1, .matching(.host("here")), timeout: patience)
        try await until("the record is the newest") {
            let record = try a.view().get(b.id)
            return record?.meta == ["b": "2", "c": "3"] && record?.ttl == .seconds(20)
        }
        try await close(a, b)
    }

    func testTheTTLIsAdaptedToABudgetUnlessThePaceIsFixed() async throws {
        // One heartbeat in a second, of a node that sends one after 0.3 of its TTL.
        let given: [(Config.Pace?, Int?, Duration)] = [
            (nil, 1, .milliseconds(3334)), (.fixed, 1, .seconds(1)), (.auto, nil, .seconds(1)),
        ]
        for (pace, budget, ttl) in given {
            let config = Config(
                listen: ["/ip4/127.0.0.1/tcp/0"], boot: ["none"], ttl: .seconds(1), pace: pace,
                budget: budget)
            let node = try await Node.start(config, timeout: patience)
            XCTAssertEqual(try node.view().get(node.id)?.ttl, ttl)
            try await close(node)
        }
    }

    func testPeersAreConnectedByIdRecordAndAddress() async throws {
        let (a, b) = try await pair()
        let record = try XCTUnwrap(try b.view().get(a.id))
        let targets: [Target] = [
            .peer(a.id), Target(a.id), .record(record), .peer(try a.info()), .addrs(try a.addrs()),
            Target(try a.addrs()[0]),
        ]
        for target in targets {
            let id = try await b.connect(target, timeout: patience)
            XCTAssertEqual(id, a.id)
            let view = try await b.viewOf(target, timeout: patience)
            XCTAssertEqual(view.peer, a.id)
        }
        XCTAssertEqual(try b.connected(), [a.id])
        let status = try XCTUnwrap(try b.peerStatus(a.id))
        XCTAssertEqual(status.direction, .outbound)
        XCTAssertNil(try b.peerStatus(b.id))
        XCTAssert(try b.metrics().contains("casm_"))
        XCTAssertFalse(try b.metricsSnapshot().isEmpty)
        try await close(a, b)
    }

    func testDiscoveryFindsAndAdvertises() async throws {
        let (a, b) = try await pair()
        try await a.advertise("elsewhere", ttl: .seconds(60), timeout: patience)
        let found = try b.findPeers(limit: 1, timeout: .seconds(30))
        let first = try await found.next()
        XCTAssertEqual(first?.peer.id, a.id)
        try await close(a, b)
    }

    func testAKeyOutlivesTheNode() async throws {
        let path = NSTemporaryDirectory() + "casm-key-\(UUID())"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let key = try Key.generate()
        try key.save(path)
        let config = Config(
            namespace: "tests", listen: ["/ip4/127.0.0.1/tcp/0"], boot: ["none"],
            key: try Key.load(path))
        let node = try await Node.start(config)
        XCTAssertEqual(node.id, key.peer)
        try await close(node)
        await XCTAssertThrows(.config, path, try key.save(path))
        await XCTAssertThrows(.io, "/nowhere", try Key.load("/nowhere"))
    }

    func testWhoHoldsTheSecretIsInAndNobodyElseAlsoAfterAPause() async throws {
        let path = NSTemporaryDirectory() + "casm-secret-\(UUID())"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let made = try Secret.generate()
        try made.save(path)
        let read = try Secret.parse(Data(contentsOf: URL(fileURLWithPath: path)))
        XCTAssertEqual(read.fingerprint, made.fingerprint)
        XCTAssertEqual("\(read)", "Secret(\(made.fingerprint))")
        await XCTAssertThrows(.config, path, try made.save(path))
        await XCTAssertThrows(.config, "fewer than 32 bytes", try Secret.parse(
            Data("/key/swarm/psk/1.0.0/\n/bin/\n12")))
        await XCTAssertThrows(.io, "/nowhere", try Secret.load("/nowhere"))

        func start(_ secret: Secret?, at listen: String = "/ip4/127.0.0.1/tcp/0") async throws -> Node {
            try await Node.start(
                Config(namespace: "tests", listen: [listen], boot: ["none"], secret: secret),
                timeout: patience)
        }
        await XCTAssertThrows(.config, "QUIC has no pre-shared key",
            try await start(made, at: "/ip4/127.0.0.1/udp/0/quic-v1"))
        let member = try await start(made)
        let other = try await start(try Secret.load(path))
        let strangers = [try await start(nil), try await start(try Secret.generate())]
        for _ in 0..<2 {
            let id = try await other.connect(.addrs(try member.addrs()), timeout: patience)
            XCTAssertEqual(id, member.id)
            _ = try await other.waitFor(2, timeout: patience)
            for stranger in strangers {
                await XCTAssertThrows(.unreachable,
                    try await stranger.connect(.addrs(try member.addrs()), timeout: patience))
                XCTAssertEqual(try stranger.view().count, 1)
            }
            try await member.pause()
            try await member.resume()
        }
        try await close(strangers[0], strangers[1], other, member)
    }

    func testAPausedNodeHasLeftAndComesBackWithItsSubscriptions() async throws {
        let (a, b) = try await pair()
        let changes = try b.subscribe(.matching(.peer(a.id)))
        guard case .current = await changes.next() else { return XCTFail("not there") }
        try await a.pause()
        XCTAssertTrue(try a.isPaused())
        XCTAssertEqual(try a.addrs(), [])
        guard case .left = await changes.next() else { return XCTFail("did not leave") }
        await XCTAssertThrows(.paused, try await a.connect(.peer(b.id), timeout: patience))
        try await a.resume()
        XCTAssertFalse(try a.isPaused())
        guard case .joined = await changes.next() else { return XCTFail("did not come back") }
        try await close(a, b)
    }

    func testANodeThatNobodyHoldsLeaves() async throws {
        let a = try await node()
        let changes = try a.subscribe()
        guard case .current = await changes.next() else { return XCTFail("not there") }
        do {
            let b = try await node(meeting: [a])
            _ = try await b.waitFor(2, timeout: patience)
        }
        guard case .joined = await changes.next() else { return XCTFail("did not come") }
        guard case .left = await changes.next() else { return XCTFail("did not leave") }
        try await close(a)
    }

    func testWhatGoesOnHoldsItsNode() async throws {
        let (a, b) = try await pair()
        // The node is spoken of no more, and what it gave is.
        let topic = try await node(meeting: [a]).topic("held")
        try await topic.waitForPeers(0)
        let held = try await a.waitFor(3, timeout: patience)
        XCTAssertEqual(held.count, 3)
        XCTAssertEqual(try topic.peers(), [])
        try await close(a, b)
    }
}
