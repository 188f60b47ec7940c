// A member that does what others ask of it, for the tests across languages. Its likes are
// python/tests/across.py, node/tests/across.mjs and bindings/examples/across.rs; what they
// do is said in node/tests/languages.test.mjs.
//
//     across NAMESPACE ADDR…: says `here ID ADDR`, and ends with its standard input
//
// With ACROSS_BOOT it looks for others there, and they reach it at every address.

import Casm
import Foundation

let language = "swift"
let protocolID = "/across/1"
let patience: Duration = .seconds(60)

struct Failure: LocalizedError {
    let errorDescription: String?
}

/// Who said what, for who waits for it.
actor Heard {
    private var sources: [String: String] = [:]
    private var waiting: [(String, CheckedContinuation<String, Never>)] = []

    func add(_ text: String, from source: String) {
        sources[text] = source
        for (wanted, continuation) in waiting where wanted == text {
            continuation.resume(returning: source)
        }
        waiting.removeAll { $0.0 == text }
    }

    func source(of text: String) async -> String {
        if let source = sources[text] { return source }
        return await withCheckedContinuation { waiting.append((text, $0)) }
    }
}

func text(_ data: Data) -> String { String(decoding: data, as: UTF8.self) }

/// What a peer makes of a text that it is sent over a stream.
func exchange(_ node: Node, _ peer: String, _ said: String) async throws -> String {
    let stream = try await node.openStream(to: .peer(peer), protocol: protocolID, timeout: patience)
    try await stream.write(Data(said.utf8))
    try await stream.closeWrite()
    var answer = Data()
    for try await piece in stream { answer += piece }
    return text(answer)
}

let arguments = Array(CommandLine.arguments.dropFirst())
let boot = ProcessInfo.processInfo.environment["ACROSS_BOOT"]
let listen = boot == nil ? "/ip4/127.0.0.1/tcp/0" : "/ip4/0.0.0.0/tcp/0"
let node = try await Node.start(
    Config(
        namespace: arguments[0], listen: [listen], boot: [boot ?? "none"],
        meta: ["language": language]))
let heard = Heard()
let topic = try node.topic("across")
let messages = try topic.subscribe()
Task {
    for await message in messages { await heard.add(text(message.data), from: message.source) }
}

try node.serve("do.\(language)") { [weak node] request -> Reply in
    guard let node else { throw Failure(errorDescription: "closed") }
    let order = text(request.data).split(separator: "|", maxSplits: 2, omittingEmptySubsequences: false)
    let words = order.map(String.init) + ["", "", ""]
    let (name, given) = (words[1], Data(words[2].utf8))
    let said: String
    switch words[0] {
    case "call":
        let answer = try await node.call(
            name, given, headers: request.headers, timeout: patience, wait: true)
        said = text(answer.data)
    case "whose":
        let answer = try await node.call(name, Data("header|".utf8), timeout: patience, wait: true)
        said = "\(answer.headers["language"] ?? "") \(answer.peer)"
    case "fail": throw Failure(errorDescription: "no luck in \(language)")
    case "header": said = request.headers[name] ?? ""
    case "parts":
        let parts = try node.callStream(name, given, timeout: patience, wait: true)
        said = try await parts.all().map(text).joined(separator: " ")
    case "stream": said = try await exchange(node, name, words[2])
    case "publish": said = "\(try await node.topic(name).publish(given))"
    case "peers":
        let n = Int(words[2]) ?? 0
        said = "\(try await node.topic(name).waitForPeers(n, timeout: patience).count)"
    case "see":
        let view = try await node.waitFor(Int(words[2]) ?? 0, timeout: patience)
        let all = view.map { "\($0.meta["language"] ?? "")=\($0.peer)" }
        said = all.sorted().joined(separator: " ")
    case "heard": said = await heard.source(of: words[2])
    default: throw Failure(errorDescription: "\(words[0])?")
    }
    return Reply(Data("\(language)>\(said)".utf8), headers: ["language": language])
}
try node.serveStream("count.\(language)") { request, parts in
    for n in 0..<(Int(text(request.data)) ?? 0) { try await parts.send(Data("\(n)".utf8)) }
}
try node.onStream(protocolID) { stream in
    var all = Data()
    for try await piece in stream { all += piece }
    try await stream.write(Data("\(language):\(text(all).uppercased())".utf8))
}
for addr in arguments.dropFirst() { try await node.connect(Target(addr), timeout: patience) }
print("here \(node.id) \(try node.addrs()[0])")
fflush(nil)
await Task.detached { while readLine() != nil {} }.value
try await node.close()
