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
        let (streams, over) = (Notes<ByteStream>(), Notes<Bool>())
        try b.onStream("/x/1") { stream in
            streams.add(stream)
            await over.count(1)
        }
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
        let rest = try await stream.read(timeout: patience)
        XCTAssertEqual(rest.text, "lo")
        // It is closed when its handler returns.
        over.add(true)
        let end = try await stream.read(timeout: patience)
        XCTAssertEqual(end, Data())
        try await close(a, b)
    }

    func testACancellationAtAnyMomentLosesNoByte() async throws {
        let (a, b) = try await pair()
        let sent = Data((0..<20_000).map { UInt8(truncatingIfNeeded: $0 &* 31) })
        try b.onStream("/x/1") { stream in
            for at in stride(from: 0, to: sent.count, by: 10) {
                try await stream.write(sent[at..<(at + 10)])
                if at % 100 == 0 { await Task.yield() }
            }
        }
        let stream = try await a.openStream(to: .peer(b.id), protocol: "/x/1")
        var back = Data()
        var (cancelled, turn) = (0, 0)
        while true {
            turn += 1
            let reading = Task { try await stream.read(10) }
            for _ in 0..<(turn % 5) { await Task.yield() }
            reading.cancel()
            do {
                let piece = try await reading.value
                if piece.isEmpty { break }
                back += piece
            } catch is CancellationError {
                cancelled += 1
                // Let something come.
                if turn % 10 == 0 { back += try await stream.read(10, timeout: patience) }
            }
        }
        XCTAssertGreaterThan(cancelled, 0)
        XCTAssertEqual(back, sent)
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
