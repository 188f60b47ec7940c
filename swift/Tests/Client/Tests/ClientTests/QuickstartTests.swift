import Casm
import Foundation
import XCTest

@testable import Snippets

final class QuickstartTests: XCTestCase {
    /// It waits for three: this node, and two that do what README says.
    func testReadmesQuickstartRuns() async throws {
        let config = Config(
            namespace: "demo", listen: ["/ip4/127.0.0.1/tcp/0"], boot: ["none"])
        let node = try await Node.start(config)
        let record = try XCTUnwrap(node.view().get(node.id))
        let channel = try node.channel("c")
        setenv("CASM_BOOT", try node.addrs()[0], 1)
        defer { unsetenv("CASM_BOOT") }
        let programs = (0..<2).map { _ in
            Task {
                try await README_1(
                    node: node, record: record, config: config, a: channel, own: channel)
            }
        }
        let view = try await node.waitFor(3, timeout: .seconds(60))
        for peer in view.map(\.peer) where peer != node.id {
            let remote = try await node.viewOf(Target(peer), timeout: .seconds(60))
            while try await remote.count() < 3 { try await Task.sleep(for: .milliseconds(10)) }
        }
        // They follow what happens until they are cancelled, and then leave.
        let changes = try node.subscribe()
        for program in programs {
            program.cancel()
            do { try await program.value } catch is CancellationError {}
        }
        var left = 0
        while left < 2, let change = await changes.next() {
            if case .left = change { left += 1 }
        }
        XCTAssertEqual(left, 2)
        try await node.close()
    }
}
