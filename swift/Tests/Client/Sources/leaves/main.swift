// Ends without closing its nodes, while closures are called, feeds read and calls wait.
//
//     leaves NAMESPACE [ADDR]: with an address, meets who is there and waits to be seen

import Casm
import Foundation

let arguments = CommandLine.arguments.dropFirst()
let namespace = arguments.first ?? "leaves"

func start(meeting addrs: [String]) async throws -> Node {
    try await Node.start(
        Config(
            namespace: namespace, listen: ["/ip4/127.0.0.1/tcp/0"],
            boot: addrs.isEmpty ? ["none"] : addrs, ttl: .seconds(3600)))
}

if let addr = arguments.dropFirst().first {
    let node = try await start(meeting: [addr])
    // Who is gone before it was seen is no one's loss.
    _ = try await node.waitFor(1, .matching(.host("seen")), timeout: .seconds(60))
    exit(0)
}

let node = try await start(meeting: [])
let other = try await start(meeting: try node.addrs())
try node.onEvent { _ in usleep(100) }
try node.onChange { _ in usleep(1000) }
try node.serve("x") { request -> Data in
    try await Task.sleep(for: .seconds(3600))
    return request.data
}
let channel = try node.channel("c")
_ = try await other.waitFor(2, timeout: .seconds(60))
Task { for await _ in try node.events() {} }
Task { for await _ in try node.subscribe().buffered() {} }
Task.detached { _ = try await channel.recv() }
Task.detached { _ = try await other.call("x", timeout: nil, wait: true) }
Task.detached { _ = try await node.waitFor(100) }
try await other.setHost("busy")
// The end of the program, and when it was.
print(DispatchTime.now().uptimeNanoseconds)
