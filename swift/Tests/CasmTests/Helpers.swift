import Casm
import Foundation
import XCTest

/// How long anything may take.
let patience: Duration = .seconds(60)

/// A node that knows nobody but whom it is told of, on the loopback interface.
func node(
    of namespace: String = "tests", meeting others: [Node] = [], meta: [String: String] = [:],
    host: String? = nil, onEvent: (@Sendable (Event) throws -> Void)? = nil
) async throws -> Node {
    let boot = try others.compactMap { try $0.addrs().first }
    let config = Config(
        namespace: namespace, listen: ["/ip4/127.0.0.1/tcp/0"], boot: boot.isEmpty ? ["none"] : boot,
        host: host, meta: meta)
    return try await Node.start(config, timeout: patience, onEvent: onEvent)
}

/// Two nodes that see each other.
func pair() async throws -> (Node, Node) {
    let a = try await node()
    let b = try await node(meeting: [a])
    _ = try await a.waitFor(2, timeout: patience)
    _ = try await b.waitFor(2, timeout: patience)
    return (a, b)
}

func close(_ nodes: Node...) async throws {
    for node in nodes { try await node.close(timeout: patience) }
}

extension Data {
    init(_ text: String) { self.init(text.utf8) }
    var text: String { String(decoding: self, as: UTF8.self) }
}

/// What several tasks and threads write down.
final class Notes<Item: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var items: [Item] = []
    private var waiting: [(Int, CheckedContinuation<Void, Never>)] = []

    var all: [Item] { lock.withLock { items } }

    func add(_ item: Item) {
        let ready = lock.withLock {
            items.append(item)
            let ready = waiting.filter { $0.0 <= items.count }
            waiting.removeAll { $0.0 <= items.count }
            return ready
        }
        for (_, continuation) in ready { continuation.resume() }
    }

    /// Waits until there are so many.
    func count(_ n: Int) async {
        await withCheckedContinuation { continuation in
            let there = lock.withLock {
                if items.count < n { waiting.append((n, continuation)) }
                return items.count >= n
            }
            if there { continuation.resume() }
        }
    }
}

/// Waits until something holds, and fails after a minute.
func until(
    _ what: String, isolation: isolated (any Actor)? = #isolation,
    file: StaticString = #filePath, line: UInt = #line, _ holds: () async throws -> Bool
) async throws {
    let end = ContinuousClock.now + patience
    while try await !holds() {
        guard ContinuousClock.now < end else {
            return XCTFail("still not so: \(what)", file: file, line: line)
        }
        try await Task.sleep(for: .milliseconds(10))
    }
}

/// What a call throws.
func thrown<T>(
    _ call: @autoclosure () async throws -> T, file: StaticString = #filePath, line: UInt = #line
) async -> (any Error)? {
    do {
        _ = try await call()
        XCTFail("nothing was thrown", file: file, line: line)
        return nil
    } catch {
        return error
    }
}

/// Checks what a call throws.
func XCTAssertThrows<T>(
    _ kind: CasmError.Kind, _ call: @autoclosure () async throws -> T,
    file: StaticString = #filePath, line: UInt = #line
) async {
    await XCTAssertThrows(kind, "", try await call(), file: file, line: line)
}

/// Checks what a call throws; the text is in its message.
func XCTAssertThrows<T>(
    _ kind: CasmError.Kind, _ text: String, _ call: @autoclosure () async throws -> T,
    file: StaticString = #filePath, line: UInt = #line
) async {
    let error = await thrown(try await call(), file: file, line: line)
    guard let error else { return }
    let said = error as? CasmError
    guard let said, said.kind == kind, text.isEmpty || said.message.contains(text) else {
        return XCTFail("\(error) is no \(kind.rawValue) of \(text)", file: file, line: line)
    }
}
