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
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<2 {
                group.addTask {
                    try await README_1(
                        node: node, record: record, config: config, a: channel, own: channel)
                }
            }
            try await group.waitForAll()
        }
        try await node.close()
    }
}
