internal import CasmFFI
public import Foundation

/// A stream of bytes to and from a peer. One task at a time may read, and one write.
///
/// ```swift
/// let stream = try await node.openStream(to: .record(record), protocol: "/files/1")
/// try await stream.write(Data("hello".utf8))
/// try await stream.closeWrite()
/// for try await piece in stream { print(piece.count) }
/// ```
///
/// As an `AsyncSequence` it gives what is there, at most 64 KiB at a time, until the peer
/// has ended what it writes. If it is let go of before it was closed, it is reset.
public final class ByteStream: Sendable, AsyncSequence {
    public typealias Element = Data

    private let ffi: CasmFFI.ByteStream
    private let node: CasmFFI.Node

    init(_ ffi: CasmFFI.ByteStream, of node: CasmFFI.Node) {
        self.ffi = ffi
        self.node = node
    }

    /// The id of the peer at the other end.
    public var peer: String { ffi.peer() }

    /// The protocol.
    public var `protocol`: String { ffi.`protocol`() }

    /// Whether it is over: closed, reset, or its node closed.
    public var isClosed: Bool { ffi.closed() }

    /// Reads what is there, and waits until there is something. Empty at the end. After a
    /// timeout or a cancellation it can be called again: nothing is lost.
    ///
    /// - Parameters:
    ///   - most: The most bytes.
    ///   - timeout: How long to wait; no limit if it is left out.
    public func read(_ most: Int = 65_536, timeout: Duration? = nil) async throws -> Data {
        let most = try number("most", most)
        return try await waiting { ffi.startRead(most: most, timeout: timeout?.inSeconds) }
    }

    /// Writes all of the bytes; waits while the peer has no room for them. If it is
    /// cancelled or its time is over when some of them went out, the stream is reset.
    public func write(_ data: Data, timeout: Duration? = nil) async throws {
        try await waiting { ffi.startWrite(data: data, timeout: timeout?.inSeconds) }
    }

    /// Ends what is written: the peer reads to the end. Reading goes on.
    public func closeWrite(timeout: Duration? = nil) async throws {
        try await waiting { ffi.startCloseWrite(timeout: timeout?.inSeconds) }
    }

    /// Ends what is written, and reads no more.
    public func close(timeout: Duration? = nil) async throws {
        try await waiting { ffi.startClose(timeout: timeout?.inSeconds) }
    }

    /// Ends it at once, for calls that are waiting too. To the peer it is broken, unless it
    /// was closed for writing.
    public func reset() { ffi.reset() }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(stream: self) }

    /// A reader of it.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let stream: ByteStream

        public mutating func next() async throws -> Data? {
            let piece = try await stream.read()
            return piece.isEmpty ? nil : piece
        }
    }
}

extension Node {
    /// Opens a stream to a peer, to which it connects as ``connect(_:timeout:)`` does.
    ///
    /// - Parameters:
    ///   - peer: An id, a record, or addresses.
    ///   - protocol: A libp2p protocol id of the program's own, such as `/files/1`.
    ///   - timeout: For opening it; `nil` for no limit.
    public func openStream(
        to peer: Target, `protocol`: String, timeout: Duration? = .seconds(10)
    ) async throws -> ByteStream {
        let stream = try await waiting {
            ffi.startOpenStream(
                addrs: peer.parts, protocol: `protocol`, timeout: limit(timeout))
        }
        return ByteStream(stream, of: ffi)
    }

    /// Handles the streams of a protocol that peers open: each in a task of its own. A stream
    /// is closed when its handler returns, and reset when it throws.
    ///
    /// It goes on until the subscription is cancelled or the node closes.
    @discardableResult
    public func onStream(
        _ `protocol`: String, _ handler: @escaping @Sendable (ByteStream) async throws -> Void
    ) throws -> Subscription {
        let threw = Counter()
        let node = Weak(ffi)
        let listener = Listening<CasmFFI.ByteStream> { stream in
            // A node that has gone takes its streams with it.
            guard let node = node.value else { return }
            let stream = ByteStream(stream, of: node)
            Task {
                do {
                    try await handler(stream)
                    try? await stream.close()
                } catch {
                    threw.add()
                    stream.reset()
                }
            }
        }
        return Subscription(
            try told { try ffi.onStream(protocol: `protocol`, listener: listener) }, threw: threw)
    }
}
