import Casm
import Foundation
import XCTest

final class StreamTests: XCTestCase {
    struct Refused: Error {}

    func testAStreamCarriesBytesBothWays() async throws {
        let (a, b) = try await pair()
        let peers = Notes<String>()
        try b.onStream("/echo/1") { stream in
            peers.add(stream.peer)
            for try await piece in stream { try await stream.write(piece) }
            try await stream.close()
        }
        let stream = try await a.openStream(to: .peer(b.id), protocol: "/echo/1")
        XCTAssertEqual(stream.peer, b.id)
        XCTAssertEqual(stream.protocol, "/echo/1")
        XCTAssertFalse(stream.isClosed)
        let sent = Data((0..<1_000_000).map { UInt8(truncatingIfNeeded: $0) })
        async let writing: Void = {
            try await stream.write(sent, timeout: patience)
            try await stream.closeWrite(timeout: patience)
        }()
        var back = Data()
        for try await piece in stream { back += piece }
        try await writing
        XCTAssertEqual(back, sent)
        XCTAssertEqual(peers.all, [a.id])
        try await stream.close()
        XCTAssertTrue(stream.isClosed)
        try await close(a, b)
    }

    func testACancelledReadLosesNothing() async throws {
        let (a, b) = try await pair()
        let streams = Notes<ByteStream>()
        try b.onStream("/x/1") { streams.add($0) }
        let stream = try await a.openStream(to: .peer(b.id), protocol: "/x/1")
        await streams.count(1)
        let reading = Task { try await stream.read() }
        try await Task.sleep(for: .milliseconds(20))
        reading.cancel()
        let error = await thrown(try await reading.value)
        XCTAssert(error is CancellationError, "\(String(describing: error))")
        await XCTAssertThrows(.timeout, try await stream.read(timeout: .milliseconds(10)))
        try await streams.all[0].write(Data("hello"))
        let piece = try await stream.read(3, timeout: patience)
        XCTAssertEqual(piece.text, "hel")
        streams.all[0].reset()
        try await close(a, b)
    }

    func testAHandlerThatThrowsIsCountedAndItsStreamIsReset() async throws {
        let (a, b) = try await pair()
        let subscription = try b.onStream("/x/1") { _ in throw Refused() }
        for n in 1...2 {
            let stream = try await a.openStream(to: .peer(b.id), protocol: "/x/1")
            _ = await thrown(try await stream.read(timeout: patience))
            XCTAssertEqual(subscription.failed, UInt64(n))
        }
        subscription.cancel()
        try await until("nobody takes them") {
            do {
                _ = try await a.openStream(to: .peer(b.id), protocol: "/x/1").read(timeout: patience)
                return false
            } catch {
                return true
            }
        }
        try await close(a, b)
    }
}
