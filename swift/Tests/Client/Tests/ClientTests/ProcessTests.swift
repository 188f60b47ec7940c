import Casm
import Foundation
import XCTest

/// Programs that use the package, and end.
final class ProcessTests: XCTestCase {
    func testLoadingThePackageStartsNoThread() throws {
        let done = try run("idle")
        XCTAssertEqual(done.status, 0)
        XCTAssertEqual(done.output, "1\n")
    }

    func testExitWithoutCloseNeverHangsOrAborts() throws {
        var took: [Double] = []
        for attempt in 1...50 {
            let done = try run("leaves")
            XCTAssertEqual(done.status, 0, "attempt \(attempt): \(done.errors)")
            XCTAssertEqual(done.errors, "", "attempt \(attempt)")
            // Since the last line of the program: both have one clock.
            let text = done.output.trimmingCharacters(in: .whitespacesAndNewlines)
            let last = try XCTUnwrap(UInt64(text), "attempt \(attempt): \(text)")
            took.append(Double(done.ended - last) / 1e9)
            // It takes a third of a second, and more on a machine that does other things.
            XCTAssertLessThan(try XCTUnwrap(took.last), 10, "attempt \(attempt)")
        }
        took.sort()
        print("exit without close: median \(took[25]) s, at most \(took[49]) s")
    }

    func testExitWithoutCloseSaysGoodbye() async throws {
        let config = Config(
            namespace: "goodbye", listen: ["/ip4/127.0.0.1/tcp/0"], boot: ["none"],
            ttl: .seconds(3600))
        let node = try await Node.start(config)
        let events = try node.events()
        let addrs = try node.addrs()
        let program = Task.detached { try self.run("leaves", "goodbye", addrs[0]) }
        for await event in events {
            if case .peerJoined = event { try await node.setHost("seen") }
            if case .peerLeft(_, let reason) = event {
                XCTAssertEqual(reason, .left)
                break
            }
        }
        let status = try await program.value.status
        XCTAssertEqual(status, 0)
        try await node.close()
    }

    private func run(_ name: String, _ arguments: String...) throws
        -> (status: Int32, output: String, errors: String, ended: UInt64)
    {
        let (process, output, errors) = (Process(), Pipe(), Pipe())
        process.executableURL = built().appendingPathComponent(name)
        process.arguments = arguments
        process.standardOutput = output
        process.standardError = errors
        try process.run()
        // One that hangs is not waited for for ever, and fails by its status.
        let pid = process.processIdentifier
        let hangs = DispatchWorkItem { kill(pid, SIGKILL) }
        DispatchQueue.global().asyncAfter(deadline: .now() + 60, execute: hangs)
        defer { hangs.cancel() }
        let texts = [output, errors].map {
            String(decoding: $0.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        }
        process.waitUntilExit()
        let ended = DispatchTime.now().uptimeNanoseconds
        return (process.terminationStatus, texts[0], texts[1], ended)
    }

    /// Where the programs lie: beside the tests.
    private func built() -> URL {
        #if os(Linux)
        Bundle.main.bundleURL
        #else
        Bundle(for: Self.self).bundleURL.deletingLastPathComponent()
        #endif
    }
}
