// As a package would hide the generated module: nothing of it shows in what is
// public here. Swift refuses to compile this if it does.

internal import CasmFFI

public final class WrappedNode: Sendable {
    let node: Node

    public init(boot: String = "none", meta: [String: String] = [:]) throws {
        let config = Config(listen: ["/ip4/127.0.0.1/tcp/0"], boot: [boot], meta: meta)
        node = try Node.start(config: config, timeout: patience)
    }

    public func joins() throws -> AsyncStream<String> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: String.self, bufferingPolicy: .bufferingNewest(1024))
        let subscription = try node.onEvent(listener: Joins { continuation.yield($0) })
        continuation.onTermination = { _ in subscription.cancel() }
        return stream
    }
}

/// Seconds that anything may take.
let patience = 60.0

/// A closure as a listener.
final class Joins: EventListener {
    let told: @Sendable (String) -> Void

    init(_ told: @escaping @Sendable (String) -> Void) {
        self.told = told
    }

    func onEvent(event: Event) throws {
        if case .peerJoined(let record) = event { told(record.peer) }
    }
}
