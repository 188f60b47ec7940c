#if os(Linux)
import Casm
import Foundation
import XCTest

final class GrowthTests: XCTestCase {
    func testTwoHundredNodesLeaveNoThreadDescriptorOrMemoryBehind() async throws {
        // What is made once, and what the allocator keeps.
        for _ in 0..<10 { try await round() }
        let before = try used()
        for _ in 0..<20 { try await round() }
        var after = try used()
        // Threads end in their own time.
        for _ in 0..<100 where after.threads > before.threads || after.descriptors > before.descriptors {
            try await Task.sleep(for: .milliseconds(100))
            after = try used()
        }
        print("before \(before), after 200 nodes \(after)")
        XCTAssertLessThanOrEqual(after.threads, before.threads)
        XCTAssertLessThanOrEqual(after.descriptors, before.descriptors)
        // 40 KiB a node: less than anything that a node keeps.
        XCTAssertLessThan(after.memory - before.memory, 200 * 40 * 1024)
    }

    /// Ten nodes that do something, and close.
    private func round() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<10 {
                group.addTask {
                    let node = try await node()
                    try node.onEvent { _ in }
                    try node.serve("x") { request in request.data }
                    let answer = try await node.call("x", Data("a"))
                    XCTAssertEqual(answer.data.text, "a")
                    let topic = try node.topic("t")
                    let feed = try topic.subscribe(echo: true)
                    try await topic.publish(Data("b"))
                    _ = await feed.next()
                    try await node.close(timeout: patience)
                }
            }
            try await group.waitForAll()
        }
    }

    private func used() throws -> (threads: Int, descriptors: Int, memory: Int) {
        let files = FileManager.default
        let status = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
        let pages = Int(status.split(separator: " ")[1]) ?? 0
        return (
            try files.contentsOfDirectory(atPath: "/proc/self/task").count,
            try files.contentsOfDirectory(atPath: "/proc/self/fd").count, pages * 4096
        )
    }
}
#endif
