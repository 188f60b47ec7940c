import Casm
import Foundation
import XCTest

final class ServiceTests: XCTestCase {
    struct Refused: LocalizedError {
        var errorDescription: String? { "not today" }
    }

    func testAServiceAnswersWithDataAndWithHeaders() async throws {
        let (a, b) = try await pair()
        let requests = Notes<Request>()
        let serving = try a.serve("upper", version: "2") { request in
            requests.add(request)
            return Data(request.data.text.uppercased())
        }
        try a.serve("headers") { request in
            Reply(request.data, headers: ["again": request.headers["first"] ?? ""])
        }
        XCTAssertEqual(serving.name, "upper")
        XCTAssertEqual(try a.services(), ["headers", "upper"])
        let answer = try await b.call("upper", Data("abc"), wait: true)
        XCTAssertEqual(answer.data.text, "ABC")
        XCTAssertEqual(answer.peer, a.id)
        XCTAssertEqual(requests.all.first?.peer, b.id)
        XCTAssertNotNil(requests.all.first?.deadline)
        let again = try await b.call(
            "headers", Data("x"), peer: .peer(a.id), headers: ["first": "1"], timeout: nil)
        XCTAssertEqual(again.headers, ["again": "1"])
        let found = try await b.waitFor(1, .service("upper"), timeout: patience)
        XCTAssertEqual(try found.get(a.id)?.services["upper"], "2")
        let stats = try a.serviceStats("upper")
        XCTAssertEqual(stats.calls, 1)
        XCTAssertEqual(stats.inFlight, 0)
        XCTAssertEqual(stats.failures, [:])
        XCTAssertGreaterThanOrEqual(stats.seconds, 0)
        serving.stop()
        await XCTAssertThrows(.notFound, try await b.call("upper", peer: .peer(a.id)))
        try await close(a, b)
    }

    func testWithoutCertificatesAServiceForARoleIsForItsOwnNodeAlone() async throws {
        let (a, b) = try await pair()
        try a.serve("work", allow: ["worker"]) { request in request.data }
        let found = try await b.waitFor(1, .service("work"), timeout: patience)
        XCTAssertEqual(try found.get(a.id)?.roles, [])
        XCTAssertEqual(try found.count(.role("worker")), 0)
        await XCTAssertThrows(.notFound, "`worker`", try await b.call("work"))
        let own = try await a.call("work", Data("x"))
        XCTAssertEqual(own.data.text, "x")
        await XCTAssertThrows(.config, try a.serve("bad", allow: ["a b"]) { $0.data })
        try await close(a, b)
    }

    func testWhatAHandlerThrowsIsTheCallersError() async throws {
        let (a, b) = try await pair()
        try a.serve("fails") { _ -> Data in throw Refused() }
        try a.serveStream("fails-later") { _, parts in
            try await parts.send(Data("one"))
            throw Refused()
        }
        await XCTAssertThrows(.remote, "not today", try await b.call("fails", wait: true))
        var seen: [String] = []
        do {
            for try await part in try b.callStream("fails-later", wait: true) { seen.append(part.text) }
            XCTFail("nothing was thrown")
        } catch let error as CasmError {
            XCTAssertEqual(error.kind, .remote)
            XCTAssertEqual(error.message, "not today")
        }
        XCTAssertEqual(seen, ["one"])
        try await close(a, b)
    }

    func testPartsComeAsTheyAreAskedFor() async throws {
        let (a, b) = try await pair()
        try a.serveStream("count") { _, parts in
            for n in 1...20 { try await parts.send(Data("\(n)")) }
        }
        var seen: [String] = []
        for try await part in try b.callStream("count", wait: true) { seen.append(part.text) }
        XCTAssertEqual(seen, (1...20).map { "\($0)" })
        let stream = try b.callStream("count").stream()
        var count = 0
        for try await _ in stream { count += 1 }
        XCTAssertEqual(count, 20)
        try await close(a, b)
    }

    func testTheEndOfAStreamOfResultsCallsThemOff() async throws {
        let (a, b) = try await pair()
        let ended = Notes<String>()
        try a.serveStream("endless") { request, parts in
            defer { ended.add(request.data.text) }
            while true {
                try await parts.send(Data(count: 10_000))
                try Task.checkCancellation()
            }
        }
        try a.serveStream("silent") { request, parts in
            defer { ended.add(request.data.text) }
            try await parts.send(Data("x"))
            try await Task.sleep(for: .seconds(3600))
        }
        _ = try await b.waitFor(1, .service("silent"), timeout: patience)

        // Cancelled while it works on a part, and while it waits for one. The results are
        // held meanwhile.
        var held: [Results<Data>] = []
        for name in ["endless", "silent"] {
            let results = try b.callStream(name, Data("\(name), cancelled"), timeout: nil)
            held.append(results)
            let stream = results.stream()
            let came = Notes<Bool>()
            let task = Task {
                var count = 0
                for try await _ in stream {
                    count += 1
                    if count == 1 { came.add(true) }
                    if name == "endless" { while !Task.isCancelled { await Task.yield() } }
                }
                return count
            }
            await came.count(1)
            task.cancel()
            // What it waits for is cancelled; a stream that isn't waited for ends.
            if case .failure(let error) = await task.result {
                XCTAssert(error is CancellationError, "\(error)")
            }
            try await until("\(name): it is called off") {
                ended.all.contains("\(name), cancelled")
            }
            let after = try await results.next()
            XCTAssertNil(after)
        }
        XCTAssertEqual(held.count, 2)

        // Let go of: before it was asked for anything, and after a loop was left.
        for name in ["endless", "silent"] {
            var stream: AsyncThrowingStream<Data, any Error>? = try b.callStream(
                name, Data("\(name), let go of"), timeout: nil
            ).stream()
            if let stream { for try await _ in stream { break } }
            XCTAssertFalse(ended.all.contains("\(name), let go of"))
            stream = nil
            try await until("\(name): it is called off") {
                ended.all.contains("\(name), let go of")
            }
        }
        try await close(a, b)
    }

    func testAllWhoServeItAreAsked() async throws {
        let (a, b) = try await pair()
        try a.serve("who") { _ in Data("a") }
        try b.serve("who") { _ -> Data in throw Refused() }
        _ = try await b.waitFor(2, .service("who"), timeout: patience)
        let replies = try b.callAll("who", timeout: patience)
        var seen: [String: PeerReply] = [:]
        for try await reply in replies { seen[reply.peer] = reply }
        XCTAssertEqual(replies.ended, .all)
        XCTAssertEqual(seen[a.id]?.data?.text, "a")
        XCTAssertEqual(seen[b.id]?.error, CasmError(.remote, "not today"))
        XCTAssertEqual(seen[b.id]?.headers, [:])
        let one = try b.callAll("who", where: .matching(.peer(a.id)), limit: 1)
        let first = try await one.next()
        XCTAssertEqual(first?.peer, a.id)
        one.cancel()
        try await close(a, b)
    }

    func testACallerThatGoesCancelsTheHandlersTask() async throws {
        let (a, b) = try await pair()
        let (began, ended) = (Notes<Request>(), Notes<Bool>())
        try a.serve("slow") { request -> Data in
            began.add(request)
            do {
                try await Task.sleep(for: .seconds(3600))
            } catch {
                ended.add(request.isCancelled)
            }
            return Data()
        }
        let calling = Task { try await b.call("slow", timeout: nil, wait: true) }
        await began.count(1)
        XCTAssertEqual(began.all[0].isCancelled, false)
        calling.cancel()
        let error = await thrown(try await calling.value)
        XCTAssert(error is CancellationError, "\(String(describing: error))")
        await ended.count(1)
        XCTAssertEqual(ended.all, [true])
        try await close(a, b)
    }

    func testAHandlerMayCloseItsNode() async throws {
        let (a, b) = try await pair()
        let closed = Notes<Bool>()
        try a.serve("close") { [weak a] _ -> Data in
            // It would wait for itself, for an hour.
            try await a?.close(grace: .seconds(3600))
            closed.add(true)
            return Data()
        }
        _ = await thrown(try await b.call("close", timeout: nil, wait: true))
        await closed.count(1)
        XCTAssertTrue(a.isClosed)
        try await close(a, b)
    }

    func testACloseLetsRequestsBeAnswered() async throws {
        let (a, b) = try await pair()
        let (began, go) = (Notes<Bool>(), Notes<Bool>())
        try a.serve("slow") { _ in
            began.add(true)
            await go.count(1)
            return Data("done")
        }
        let calling = Task { try await b.call("slow", wait: true) }
        await began.count(1)
        let closing = Task { try await a.close(grace: patience) }
        try await until("it serves no more") { try b.view().get(a.id)?.services["slow"] == nil }
        go.add(true)
        let answer = try await calling.value
        XCTAssertEqual(answer.data.text, "done")
        try await closing.value
        try await close(b)
    }
}
