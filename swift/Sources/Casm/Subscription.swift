internal import CasmFFI

/// A closure that is told of things. It is told until this is cancelled or the node is
/// closed, also when nobody holds this.
public final class Subscription: Sendable {
    private let ffi: CasmFFI.Subscription
    private let threw: Counter

    init(_ ffi: CasmFFI.Subscription, threw: Counter = Counter()) {
        self.ffi = ffi
        self.threw = threw
    }

    /// Calls the closure no more. A call that is running ends in its own time.
    public func cancel() { ffi.cancel() }

    /// How many items were lost because the closure was too slow: the oldest are dropped.
    public var dropped: UInt64 { ffi.dropped() }

    /// How many calls of the closure threw. Each was logged, and delivery went on.
    public var failed: UInt64 { ffi.failed() + threw.count }
}
