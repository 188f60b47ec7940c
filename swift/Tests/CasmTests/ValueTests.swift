@testable import Casm
import Foundation
import XCTest

internal import CasmFFI

/// Values and errors.
final class ValueTests: XCTestCase {
    func testQueriesTravel() throws {
        let queries: [Casm.Query] = [
            .all, "meta:role=worker", .matching(.host("web-"), prefix: true, limit: 10),
            .range(from: .host("a"), to: .host("b"), reverse: true), .service("thumbnail"),
            .matching(.server(0x1f)), .matching(.channel("jobs")),
        ]
        for query in queries {
            let json = try JSONEncoder().encode(query)
            XCTAssertEqual(try JSONDecoder().decode(Casm.Query.self, from: json), query)
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let json = try encoder.encode(Casm.Query.matching(.meta("role", "worker"), limit: 10))
        XCTAssertEqual(json.text, #"{"limit":10,"match":"meta:role=worker"}"#)
        XCTAssertEqual(try JSONDecoder().decode(Casm.Query.self, from: Data("{}")), .all)
        XCTAssertEqual(Casm.Query.matching(.server(0x1f)).match?.description, "server:000000000000001f")
        XCTAssertEqual("meta:role=worker" as Casm.Query, .matching(.meta("role", "worker")))
        XCTAssertEqual("role:worker" as Casm.Query, .role("worker"))
    }

    func testRecordsTravel() throws {
        let record = Casm.Record(
            peer: "12D3", server: .max, seq: 7, ttl: .milliseconds(1500), host: "h",
            meta: ["role": "worker"], addrs: ["/ip4/127.0.0.1/tcp/1"], services: ["a": "1"],
            channels: ["c"], roles: ["worker"], isVerified: true)
        let json = try JSONEncoder().encode(record)
        XCTAssertEqual(try JSONDecoder().decode(Casm.Record.self, from: json), record)
        XCTAssertEqual(record.id, "12D3")
    }

    func testAnEventTellsThatAPeerHasFailed() {
        let failed = Casm.Event(CasmFFI.Event.peerLeft(peer: "12D3", reason: .failed))
        XCTAssertEqual(failed, .peerLeft(peer: "12D3", reason: .failed))
        XCTAssertEqual(Casm.Event.LeaveReason.failed.rawValue, "failed")
    }

    func testADurationKeepsItsValue() {
        XCTAssertEqual(Duration.milliseconds(1500).inSeconds, 1.5)
        XCTAssertEqual(Duration.seconds(-3).inSeconds, -3)
        XCTAssertEqual(Duration(inSeconds: 3.334), .milliseconds(3334))
        XCTAssertEqual(Duration(inSeconds: -0.1), .milliseconds(-100))
        XCTAssertEqual(limit(nil), .infinity)
    }

    func testATargetIsWhatACallTakes() {
        let record = Casm.Record(peer: "id", addrs: ["/ip4/1.2.3.4/tcp/5"])
        XCTAssertEqual(Target.record(record).parts, ["id", "/ip4/1.2.3.4/tcp/5"])
        XCTAssertEqual(Target.record(record).text, "/ip4/1.2.3.4/tcp/5/p2p/id")
        XCTAssertEqual(Target.record(Casm.Record(peer: "id")).text, "id")
        XCTAssertEqual(("id" as Target).text, "id")
        XCTAssertEqual(Target.addrs(["/a", "/b"]).parts, ["/a", "/b"])
    }

    func testEveryErrorKindOfTheTableReachesTheCaller() throws {
        // As the library has them, in the order of the table.
        let kinds: [(CasmFFI.CasmError, Casm.CasmError.Kind)] = [
            (.Config(message: "m"), .config), (.Address(message: "m"), .address),
            (.Bind(message: "m"), .bind), (.Closed(message: "m"), .closed),
            (.Timeout(message: "m"), .timeout), (.Cancelled(message: "m"), .cancelled),
            (.NotFound(message: "m"), .notFound), (.Unreachable(message: "m"), .unreachable),
            (.Protocol(message: "m"), .protocol), (.Invalid(message: "m"), .invalid),
            (.TooLarge(message: "m"), .tooLarge), (.Busy(message: "m"), .busy),
            (.Io(message: "m"), .io), (.Paused(message: "m"), .paused),
            (.Remote(message: "m"), .remote), (.Internal(message: "m"), .internal),
        ]
        for (given, kind) in kinds {
            let error = Casm.CasmError(given)
            XCTAssertEqual(error, Casm.CasmError(kind, "m"))
            // The name is the same in every language.
            XCTAssertEqual("\(given)".prefix(while: { $0 != "(" }), Substring(kind.rawValue))
        }
        let table = try table()
        let line = try XCTUnwrap(table.range(of: "[errors]\nkinds = ["))
        let names = table[line.upperBound...].prefix(while: { $0 != "]" })
            .split(separator: ",").map { $0.trimmingCharacters(in: CharacterSet(charactersIn: " \n\"")) }
            .filter { !$0.isEmpty }
        XCTAssertEqual(names, kinds.map(\.1.rawValue))
    }

    func testAnErrorIsLocalizedAndHasAKindThatMayBeNew() throws {
        let error: any Error = Casm.CasmError(.notFound, "nobody serves `x`")
        XCTAssertEqual(error.localizedDescription, "nobody serves `x`")
        XCTAssertEqual("\(error)", "NotFound: nobody serves `x`")
        XCTAssertEqual(Casm.CasmError.Kind(rawValue: "Newer").rawValue, "Newer")
    }

    func testHandlesAndValuesCrossTasks() {
        func crosses<T: Sendable>(_: T.Type) {}
        crosses(Casm.Node.self)
        crosses(Casm.Topic.self)
        crosses(Casm.Channel.self)
        crosses(Casm.ByteStream.self)
        crosses(Feed<Casm.Event>.self)
        crosses(Results<Casm.Record>.self)
        crosses(Casm.Config.self)
        crosses(Casm.CasmError.self)
    }

    func testListenersAreSynchronousTraits() throws {
        // An asynchronous one would come with a function that completes its future.
        let header = try String(contentsOf: root().appendingPathComponent("swift/Sources/CasmFFIC/CasmFFIC.h"), encoding: .utf8)
        let methods = header.components(separatedBy: "typedef ").filter {
            $0.contains("(*UniffiCallbackInterface") && $0.contains("Method")
        }
        XCTAssertGreaterThan(methods.count, 5)
        XCTAssertEqual(methods.filter { $0.contains("ForeignFuture") }, [])
    }

    private func root() -> URL {
        (0..<4).reduce(URL(fileURLWithPath: #filePath)) { url, _ in url.deletingLastPathComponent() }
    }

    private func table() throws -> String {
        try String(contentsOf: root().appendingPathComponent("bindings/api.toml"), encoding: .utf8)
    }
}
