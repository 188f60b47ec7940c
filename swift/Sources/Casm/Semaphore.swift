internal import CasmFFI

/// A semaphore, of this node or of another: so many may hold a lease of it at a time.
public final class Semaphore: Sendable {
    private let ffi: CasmFFI.Semaphore
    private let node: CasmFFI.Node

    init(_ ffi: CasmFFI.Semaphore, of node: CasmFFI.Node) {
        self.ffi = ffi
        self.node = node
    }

    /// Its name.
    public var name: String { ffi.name() }

    /// The id of the node whose it is.
    public var owner: String { ffi.owner() }

    /// Waits for a lease, in the order of asking.
    public func acquire(timeout: Duration? = nil) async throws -> Lease {
        Lease(try await waiting { ffi.startAcquire(timeout: timeout?.inSeconds) }, of: node)
    }

    /// Closes it: nobody is granted anything any more. Its owner alone may.
    public func close() throws { try told { try ffi.close() } }
}

/// What is held of a semaphore, until it is released, let go of, or lost: it is renewed by
/// itself, and lost if its owner can't be reached for 10 s.
///
/// A process that was stopped meanwhile may still act as if it held it: give the token to
/// what it protects, which should refuse a lower one than it has seen.
public final class Lease: Sendable {
    private let ffi: CasmFFI.Lease
    private let node: CasmFFI.Node

    init(_ ffi: CasmFFI.Lease, of node: CasmFFI.Node) {
        self.ffi = ffi
        self.node = node
    }

    /// Grows with every grant.
    public var token: UInt64 { ffi.token() }

    /// Whether it is not held any more.
    public var isLost: Bool { ffi.lost() }

    /// Waits until it is not held any more.
    public func waitLost(timeout: Duration? = nil) async throws {
        try await waiting { ffi.startWaitLost(timeout: timeout?.inSeconds) }
    }

    /// Gives it back. It doesn't wait.
    public func release() { ffi.release() }
}

extension Node {
    /// A semaphore of this node, of which `n` leases are given at a time; others open it by
    /// its name. One that is here and open, or a new one.
    public func semaphore(_ name: String, _ n: Int, timeout: Duration? = nil) async throws
        -> Semaphore
    {
        let n = try number("n", n)
        let semaphore = try await waiting {
            ffi.startSemaphore(name: name, n: n, timeout: timeout?.inSeconds)
        }
        return Semaphore(semaphore, of: ffi)
    }

    /// A semaphore of another node, by its name there.
    ///
    /// - Parameters:
    ///   - name: The semaphore.
    ///   - peer: Whose it is; if it is left out, the one member in whose record it stands.
    ///   - timeout: How long to wait; `nil` for no limit.
    public func openSemaphore(
        _ name: String, at peer: Target? = nil, timeout: Duration? = .seconds(10)
    ) async throws -> Semaphore {
        let semaphore = try await waiting {
            ffi.startOpenSemaphore(name: name, peer: peer?.text, timeout: limit(timeout))
        }
        return Semaphore(semaphore, of: ffi)
    }
}
