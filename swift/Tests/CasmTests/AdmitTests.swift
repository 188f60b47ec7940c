#if os(macOS) || os(Linux)
import Casm
import Foundation
import XCTest

/// Certificates: who may join is what an authority has signed. Here that is the program
/// `casm`, which the variable `CASM_PROGRAM` names.
final class AdmitTests: XCTestCase {
    private var folder = URL(fileURLWithPath: "/")
    private var authority = ""

    override func setUp() async throws {
        folder = FileManager.default.temporaryDirectory
            .appendingPathComponent("casm-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let made = try casm("admit", "new", path("ca.key"), "--json")
        let line = try JSONSerialization.jsonObject(with: made) as? [String: Any]
        authority = try XCTUnwrap(line?["peer"] as? String)
    }

    override func tearDown() async throws {
        try FileManager.default.removeItem(at: folder)
    }

    private func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

    /// Runs the program; gives what it has written.
    private func casm(_ arguments: String...) throws -> Data {
        guard let program = ProcessInfo.processInfo.environment["CASM_PROGRAM"] else {
            throw XCTSkip("CASM_PROGRAM names no program that signs")
        }
        let (process, output) = (Process(), Pipe())
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.standardOutput = output
        try process.run()
        let written = output.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        XCTAssertEqual(process.terminationStatus, 0, "\(arguments)")
        return written
    }

    /// What a file of a certificate for a peer holds.
    private func sign(_ peer: String, role: String) throws -> Data {
        try casm(
            "admit", "sign", "--ca", path("ca.key"), "--peer", peer, "--ns", "orchard", "--role", role)
    }

    private func start(_ key: Key, _ certificate: Certificate?) async throws -> Node {
        try await Node.start(
            Config(
                namespace: "orchard", listen: ["/ip4/127.0.0.1/tcp/0"], boot: ["none"], key: key,
                admit: certificate == nil ? [] : [authority], certificate: certificate),
            timeout: patience)
    }

    func testMembersSeeEachOtherAndWhatAnAuthoritySaysOfThem() async throws {
        let (one, other) = (try Key.generate(), try Key.generate())
        let file = path("node.cert")
        try sign(one.peer, role: "boss").write(to: URL(fileURLWithPath: file))
        let a = try await start(one, .file(file))
        let b = try await start(other, .data(try sign(other.peer, role: "worker")))
        _ = try await a.connect(.peer(try b.info()), timeout: patience)
        for node in [a, b] { _ = try await node.waitFor(2, timeout: patience) }
        try await until("each knows the other's roles") {
            try a.view().get(b.id)?.roles == ["worker"] && b.view().get(a.id)?.roles == ["boss"]
        }
        // Renewed by one that is signed in another second: the last one counts.
        try await until("a later one is taken") {
            (try? a.renew(try sign(a.id, role: "chief"))) != nil
        }
        try await until("the new one is known") { try b.view().get(a.id)?.roles == ["chief"] }
        await XCTAssertThrows(.config, b.id, try a.renew(try sign(b.id, role: "boss")))

        // Who has none gets no connection, and who is revoked has none any more.
        let stranger = try await start(try Key.generate(), nil)
        await XCTAssertThrows(.unreachable,
            try await a.connect(.peer(try stranger.info()), timeout: patience))
        XCTAssertEqual(try stranger.view().count, 1)
        let taken = try casm("admit", "revoke", "--ca", path("ca.key"), "--peer", b.id)
        XCTAssertEqual(try a.revoke(taken), 1)
        XCTAssertEqual(try a.revoke(taken), 0)
        try await until("it is put out") {
            try a.view().count == 1 && a.connected().isEmpty
        }
        await XCTAssertThrows(.unreachable,
            try await a.connect(.peer(try b.info()), timeout: patience))
        try await close(a, b, stranger)
    }
}
#endif
