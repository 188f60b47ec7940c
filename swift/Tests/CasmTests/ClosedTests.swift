import Casm
import Foundation
import XCTest

/// Every call: after a close, twice, and with what is not acceptable.
final class ClosedTests: XCTestCase {
    func testCloseIsIdempotentAndEveryLaterCallIsClosed() async throws {
        let (node, other) = try await pair()
        let topic = try node.topic("t")
        let channel = try node.channel("c", capacity: 1)
        let semaphore = try await node.semaphore("s", 1)
        let subscription = try node.onEvent { _ in }
        let serving = try node.serve("x") { _ in Data() }
        let remote = try await node.viewOf(.peer(other.id), timeout: patience)
        let view = try node.view()
        let feed = try node.events()
        try other.onStream("/x/1") { _ in }
        let stream = try await node.openStream(to: .peer(other.id), protocol: "/x/1")
        try await channel.send(Data("a"))
        let job = try await channel.take()
        let lease = try await semaphore.acquire()
        try await node.close()
        try await node.close()
        XCTAssertTrue(node.isClosed)
        XCTAssertEqual(node.namespace, "tests")
        XCTAssertFalse(node.id.isEmpty)

        for _ in 0..<2 {
            let waits: [(String, () async throws -> Void)] = [
                ("isPaused", { _ = try node.isPaused() }),
                ("addrs", { _ = try node.addrs() }),
                ("info", { _ = try node.info() }),
                ("view", { _ = try node.view() }),
                ("connected", { _ = try node.connected() }),
                ("peerStatus", { _ = try node.peerStatus(other.id) }),
                ("reachability", { _ = try node.reachability() }),
                ("metrics", { _ = try node.metrics() }),
                ("metricsSnapshot", { _ = try node.metricsSnapshot() }),
                ("waitFor", { _ = try await node.waitFor(1) }),
                ("viewOf", { _ = try await node.viewOf(.peer(other.id)) }),
                ("connect", { _ = try await node.connect(.peer(other.id)) }),
                ("openStream", { _ = try await node.openStream(to: .peer(other.id), protocol: "/x/1") }),
                ("onStream", { _ = try node.onStream("/x/1") { _ in } }),
                ("advertise", { try await node.advertise("x", ttl: .seconds(1)) }),
                ("findPeers", { _ = try await node.findPeers().next() }),
                ("setMeta", { try await node.setMeta([:]) }),
                ("updateMeta", { try await node.updateMeta(["a": "b"]) }),
                ("setHost", { try await node.setHost("h") }),
                ("setTTL", { try await node.setTTL(.seconds(10)) }),
                ("channel", { _ = try node.channel("d") }),
                ("openChannel", { _ = try await node.openChannel("d", at: .peer(other.id)) }),
                ("semaphore", { _ = try await node.semaphore("d", 1) }),
                ("openSemaphore", { _ = try await node.openSemaphore("d", at: .peer(other.id)) }),
                ("events", { _ = try node.events() }),
                ("onEvent", { _ = try node.onEvent { _ in } }),
                ("subscribe", { _ = try node.subscribe() }),
                ("onChange", { _ = try node.onChange { _ in } }),
                ("topic", { _ = try node.topic("t") }),
                ("serve", { _ = try node.serve("y") { _ in Data() } }),
                ("serveStream", { _ = try node.serveStream("z") { _, _ in } }),
                ("call", { _ = try await node.call("x") }),
                ("callAll", { _ = try await node.callAll("x").next() }),
                ("callStream", { _ = try await node.callStream("x").next() }),
                ("services", { _ = try node.services() }),
                ("serviceStats", { _ = try node.serviceStats("x") }),
                ("allow", { try node.allow(other.id) }),
                ("disallow", { try node.disallow(other.id) }),
                ("allowAll", { try node.allowAll() }),
                ("setAllowed", { try node.setAllowed([]) }),
                ("allowed", { _ = try node.allowed() }),
                ("deny", { try node.deny(other.id) }),
                ("undeny", { try node.undeny(other.id) }),
                ("setDenied", { try node.setDenied([]) }),
                ("renew", { try node.renew(Data()) }),
                ("revoke", { try node.revoke(Data()) }),
                ("denied", { _ = try node.denied() }),
                ("pause", { try await node.pause() }),
                ("resume", { try await node.resume() }),
                ("topic.publish", { _ = try await topic.publish(Data()) }),
                ("topic.subscribe", { _ = try topic.subscribe() }),
                ("topic.onMessage", { _ = try topic.onMessage { _ in } }),
                ("topic.peers", { _ = try topic.peers() }),
                ("topic.waitForPeers", { _ = try await topic.waitForPeers(1) }),
                ("channel.send", { try await channel.send(Data()) }),
                ("channel.recv", { _ = try await channel.recv() }),
                ("channel.take", { _ = try await channel.take() }),
                ("semaphore.acquire", { _ = try await semaphore.acquire() }),
                ("remote.count", { _ = try await remote.count(timeout: patience) }),
                ("remote.get", { _ = try await remote.get(other.id, timeout: patience) }),
                ("remote.first", { _ = try await remote.first(.all, timeout: patience) }),
                ("remote.records", { _ = try await remote.records().next() }),
                ("stream.read", { _ = try await stream.read(timeout: patience) }),
                ("stream.write", { try await stream.write(Data("a"), timeout: patience) }),
                ("stream.closeWrite", { try await stream.closeWrite(timeout: patience) }),
                ("job.done", { try await job.done(timeout: patience) }),
                ("job.giveBack", { try await job.giveBack(timeout: patience) }),
                ("channel.close", { try await channel.close(timeout: patience) }),
                ("select", { _ = try await select([channel.receiving()], timeout: patience) }),
                ("lease.waitLost", { try await lease.waitLost(timeout: patience) }),
                ("semaphore.close", { try semaphore.close() }),
            ]
            for (name, call) in waits {
                do {
                    try await call()
                    XCTFail("\(name) gave something")
                } catch let error as CasmError {
                    XCTAssertEqual(error.kind, .closed, "\(name): \(error)")
                } catch {
                    XCTFail("\(name): \(error)")
                }
            }
            // What has no error of its own ends, and nothing hangs.
            for await _ in feed {}
            subscription.cancel()
            serving.stop()
            topic.close()
            try await stream.close(timeout: patience)
            stream.reset()
            lease.release()
            XCTAssertTrue(stream.isClosed)
            XCTAssertEqual(view.count, 2)
            XCTAssertTrue(job.isLost)
            XCTAssertTrue(lease.isLost)
        }
        try await close(other)
    }

    func testWhatIsNotAcceptableIsNamedByEveryCall() async throws {
        let node = try await node()
        let (topic, channel) = (try node.topic("t"), try node.channel("c"))
        let long = String(repeating: "x", count: 100_000)
        let relay = { (limits: RelayLimits) async throws in
            _ = try await Node.start(Config(boot: ["none"], relay: true, relayLimits: limits))
        }
        let bad: [(CasmError.Kind, String, () async throws -> Void)] = [
            (.config, "a b", { _ = try await Node.start(Config(namespace: "a b", boot: ["none"])) }),
            (.config, "ttl", { _ = try await Node.start(Config(boot: ["none"], ttl: .zero)) }),
            (.config, "budget: 0", { _ = try await Node.start(Config(boot: ["none"], budget: 0)) }),
            (.config, "budget: -1", { _ = try await Node.start(Config(boot: ["none"], budget: -1)) }),
            (.address, "nonsense", { _ = try await Node.start(Config(listen: ["nonsense"], boot: ["none"])) }),
            (.config, "-1", { _ = try await Node.start(Config(boot: ["none"], limits: Limits(connections: -1))) }),
            (.config, "relay.reservations: 0", { try await relay(RelayLimits(reservations: 0)) }),
            (.config, "relay.circuits: -1", { try await relay(RelayLimits(circuits: -1)) }),
            (.config, "relay.circuit_bytes: 1", { try await relay(RelayLimits(circuitBytes: 1)) }),
            (.config, "relay.circuitBytes: -1", { try await relay(RelayLimits(circuitBytes: -1)) }),
            (.config, "relay.circuit_time", { try await relay(RelayLimits(circuitTime: .seconds(9))) }),
            (.config, "relay: false", { _ = try await Node.start(Config(boot: ["none"], relayLimits: RelayLimits())) }),
            (.config, "-1", { _ = try await node.waitFor(-1) }),
            (.config, "role=w", { _ = try node.view().records("role=w") }),
            (.invalid, "", { _ = try node.view().records(Query(prefix: true)) }),
            (.invalid, "", { _ = try node.view().count(Query(match: .host("a"), from: .host("b"))) }),
            (.config, "-5", { _ = try node.view().records(Query(limit: -5)) }),
            (.config, "10000000000", { _ = try node.view().records(Query(limit: 10_000_000_000)) }),
            (.address, "nobody", { _ = try node.view().get("nobody") }),
            (.address, "nobody", { _ = try node.peerStatus("nobody") }),
            (.address, "allow: peer id", { _ = try await Node.start(Config(boot: ["none"], allow: ["me"])) }),
            (.address, "deny: peer id", { _ = try await Node.start(Config(boot: ["none"], deny: ["me"])) }),
            (.address, "allow: peer id", { try node.allow(node.id, "me") }),
            (.address, "me", { try node.disallow("me") }),
            (.address, "me", { try node.setAllowed(["me"]) }),
            (.address, "deny: peer id", { try node.deny("me") }),
            (.address, "me", { try node.undeny("me") }),
            (.address, "me", { try node.setDenied(["me"]) }),
            (.address, "admit: peer id", { _ = try await Node.start(Config(boot: ["none"], admit: ["me"])) }),
            (.config, "certificate", { _ = try await Node.start(Config(boot: ["none"], admit: [node.id])) }),
            (.config, "admit", { _ = try await Node.start(Config(boot: ["none"], revoked: "/nowhere")) }),
            (.config, "certificate", {
                let given = Certificate.data(Data("nonsense"))
                _ = try await Node.start(Config(boot: ["none"], admit: [node.id], certificate: given))
            }),
            (.io, "/nowhere", {
                let given = Certificate.file("/nowhere")
                _ = try await Node.start(Config(boot: ["none"], admit: [node.id], certificate: given))
            }),
            (.config, "certificate", { try node.renew(Data("nonsense")) }),
            (.config, "revocation", { try node.revoke(Data("-----BEGIN CASM REVOCATION-----\nnonsense")) }),
            (.invalid, "admit", { try node.revoke(Data()) }),
            (.config, node.id, { try node.deny(node.id) }),
            (.config, node.id, { try node.setDenied([node.id]) }),
            (.config, "ttl", { try await node.setTTL(.zero) }),
            (.config, "ttl", { try await node.setTTL(.seconds(Int64.max)) }),
            (.config, "svc.x", { try await node.setMeta(["svc.x": "1"]) }),
            (.config, "host", { try await node.setHost(long) }),
            (.config, "meta", { try await node.setMeta(["a": long]) }),
            (.config, "a/b", { _ = try node.topic("a/b") }),
            (.config, "", { _ = try topic.subscribe(queue: 0) }),
            (.config, "", { _ = try await topic.publish(Data(), timeout: .seconds(-1)) }),
            (.tooLarge, "", { _ = try await topic.publish(Data(count: 2_000_000)) }),
            (.config, "a/b", { _ = try node.channel("a/b") }),
            (.config, "-1", { _ = try node.channel("d", capacity: -1) }),
            (.tooLarge, "", { try await channel.send(Data(count: 2_000_000)) }),
            (.config, "0", { _ = try await node.semaphore("s", 0) }),
            (.config, "a/b", { _ = try node.serve("a/b") { _ in Data() } }),
            (.config, "0", { _ = try node.serve("s", maxInflight: 0) { _ in Data() } }),
            (.config, "timeout", { _ = try await node.call("s", timeout: .zero) }),
            (.tooLarge, "", { _ = try await node.call("s", Data(count: 2_000_000)) }),
            (.notFound, "s", { _ = try await node.call("s") }),
            (.config, "/casm/", { _ = try node.onStream("/casm/1") { _ in } }),
            (.notFound, "s", { _ = try node.serviceStats("s") }),
            (.config, "a b", { try await node.advertise("a b", ttl: .seconds(1)) }),
        ]
        for (nth, (kind, text, call)) in bad.enumerated() {
            for _ in 0..<2 {
                do {
                    try await call()
                    XCTFail("\(nth): nothing was thrown of \(kind.rawValue) \(text)")
                } catch let error as CasmError {
                    XCTAssertEqual(error.kind, kind, "\(nth): \(error)")
                    let named = text.isEmpty || error.message.contains(text)
                    XCTAssert(named, "\(nth): \(text): \(error)")
                }
            }
        }
        try await close(node)
    }
}
