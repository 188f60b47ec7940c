internal import CasmFFI
public import Foundation

/// A channel, of this node or of another: values are handed from senders to receivers,
/// each to one.
///
/// ```swift
/// let jobs = try node.channel("jobs", capacity: 100)
/// try await jobs.send(Data("a".utf8))
/// for try await value in jobs { print(value.count) }
/// ```
///
/// As an `AsyncSequence` it receives until it is closed and empty. If its owner goes, the
/// loop fails. A task that is cancelled while it waits has received nothing.
public final class Channel: Sendable, AsyncSequence {
    public typealias Element = Data

    private let ffi: CasmFFI.Channel
    private let node: CasmFFI.Node

    init(_ ffi: CasmFFI.Channel, of node: CasmFFI.Node) {
        self.ffi = ffi
        self.node = node
    }

    /// Its name.
    public var name: String { ffi.name() }

    /// The id of the node whose it is.
    public var owner: String { ffi.owner() }

    /// How many values wait in it; `nil` if it is another node's.
    public var waiting: Int? { ffi.waiting().map(Int.init) }

    /// How many values of a channel elsewhere may be ours, or are and were not received
    /// yet: the next receivers here get them.
    public var inDoubt: Int { Int(ffi.inDoubt()) }

    /// Sends a value of at most 1 MiB, and waits until there is room for it, or, at capacity
    /// 0, until it is received.
    ///
    /// - Throws: ``CasmError/Kind/timeout`` if it was not taken in, and will not be;
    ///   ``CasmError/Kind/unreachable`` if that is not known; ``CasmError/Kind/closed``.
    public func send(_ value: Data, timeout: Duration? = nil) async throws {
        try await Casm.waiting { ffi.startSend(value: value, timeout: timeout?.inSeconds) }
    }

    /// Receives a value: never twice.
    public func recv(timeout: Duration? = nil) async throws -> Data {
        try await Casm.waiting { ffi.startRecv(timeout: timeout?.inSeconds) }
    }

    /// Takes a value as a job, which comes back to the channel unless it is done: at least
    /// once.
    public func take(timeout: Duration? = nil) async throws -> Job {
        Job(try await Casm.waiting { ffi.startTake(timeout: timeout?.inSeconds) }, of: node)
    }

    /// Closes it: sends fail from now on, and receivers get what is in it and then end. Its
    /// owner may, and others if it was made so.
    public func close(timeout: Duration? = nil) async throws {
        try await Casm.waiting { ffi.startClose(timeout: timeout?.inSeconds) }
    }

    /// To receive from it in a ``select(_:timeout:)``.
    public func receiving() -> Branch { Branch(ffi.receiving(), of: node) }

    /// To send this to it in a ``select(_:timeout:)``; it must be this node's own.
    public func sending(_ value: Data) -> Branch { Branch(ffi.sending(value: value), of: node) }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(channel: self) }

    /// A receiver of it.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let channel: Channel

        public mutating func next() async throws -> Data? {
            do {
                return try await channel.recv()
            } catch let error as CasmError
                where error.kind == .closed && !channel.node.closed()
            {
                return nil
            }
        }
    }
}

/// A value that was taken as a job. It goes back to the head of the channel when this is
/// let go of undone, when the connection to the channel's owner ends, or if that hears
/// nothing for 10 s.
public final class Job: Sendable {
    private let ffi: CasmFFI.Job
    private let node: CasmFFI.Node

    init(_ ffi: CasmFFI.Job, of node: CasmFFI.Node) {
        self.ffi = ffi
        self.node = node
    }

    /// The value; empty once the job is ended.
    public var data: Data { ffi.data() }

    /// Whether it has gone back, or is ended.
    public var isLost: Bool { ffi.lost() }

    /// The job is done, and the value gone from the channel.
    ///
    /// - Throws: ``CasmError/Kind/notFound`` if it has gone back, so that another may do it
    ///   too.
    public func done(timeout: Duration? = nil) async throws {
        try await waiting { ffi.startDone(timeout: timeout?.inSeconds) }
    }

    /// The value goes back to where it was.
    public func giveBack(timeout: Duration? = nil) async throws {
        try await waiting { ffi.startGiveBack(timeout: timeout?.inSeconds) }
    }
}

/// One thing that a ``select(_:timeout:)`` may do.
public final class Branch: Sendable {
    fileprivate let ffi: CasmFFI.Branch
    private let node: CasmFFI.Node

    init(_ ffi: CasmFFI.Branch, of node: CasmFFI.Node) {
        self.ffi = ffi
        self.node = node
    }
}

/// What a ``select(_:timeout:)`` did.
public struct Selected: Sendable, Hashable {
    /// Which branch it was.
    public let index: Int
    /// What it received; `nil` if it sent.
    public let value: Data?
}

/// Does the first of some branches that can be done. If several can be done, one is chosen
/// at random; one that was not chosen has had no effect. Channels that are closed and empty
/// are passed over while there are others.
///
/// ```swift
/// let selected = try await select([a.receiving(), own.sending(Data("y".utf8))])
/// ```
public func select(_ branches: [Branch], timeout: Duration? = nil) async throws -> Selected {
    let selected = try await waiting {
        startSelect(branches: branches.map(\.ffi), timeout: timeout?.inSeconds)
    }
    return Selected(index: Int(selected.index), value: selected.value)
}

extension Node {
    /// A channel of this node, which others open by its name: one that is here and open, or
    /// a new one.
    ///
    /// - Parameters:
    ///   - name: 1 to 48 of `A-Z a-z 0-9 . _ -`.
    ///   - capacity: So many values may wait in it; with 0, each is handed from sender to
    ///     receiver.
    ///   - closeByOthers: Whether others may close it.
    public func channel(_ name: String, capacity: Int = 0, closeByOthers: Bool = false) throws
        -> Channel
    {
        let capacity = try number("capacity", capacity)
        let channel = try told {
            try ffi.channel(name: name, capacity: capacity, closeByOthers: closeByOthers)
        }
        return Channel(channel, of: ffi)
    }

    /// A channel of another node, by its name there.
    ///
    /// - Parameters:
    ///   - name: The channel.
    ///   - peer: Whose it is; if it is left out, the one member in whose record it stands.
    ///   - timeout: How long to wait; `nil` for no limit.
    public func openChannel(
        _ name: String, at peer: Target? = nil, timeout: Duration? = .seconds(10)
    ) async throws -> Channel {
        let channel = try await waiting {
            ffi.startOpenChannel(name: name, peer: peer?.text, timeout: limit(timeout))
        }
        return Channel(channel, of: ffi)
    }
}
