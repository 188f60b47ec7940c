internal import CasmFFI

/// A call that runs in the library. The generated code has one such class for each type
/// of result.
protocol Pending: AnyObject, Sendable {
    associatedtype Value

    func whenDone(done: any Done)
    func take() throws -> Value
    func cancel()
}

extension PendingUnit: Pending {}
extension PendingNode: Pending {}
extension PendingView: Pending {}
extension PendingRemoteView: Pending {}
extension PendingPeer: Pending {}
extension PendingPeers: Pending {}
extension PendingNumber: Pending {}
extension PendingBytes: Pending {}
extension PendingByteStream: Pending {}
extension PendingChannel: Pending {}
extension PendingJob: Pending {}
extension PendingSelected: Pending {}
extension PendingSemaphore: Pending {}
extension PendingLease: Pending {}
extension PendingAnswer: Pending {}
extension PendingMaybeRecord: Pending {}
extension PendingMaybeEvent: Pending {}
extension PendingMaybeChange: Pending {}
extension PendingMaybeFound: Pending {}
extension PendingMaybeMessage: Pending {}
extension PendingMaybeReply: Pending {}
extension PendingMaybeBytes: Pending {}

/// Makes a call, and waits for it without holding a thread. A task that is cancelled
/// cancels the call.
///
/// The call is there before the handler of the cancellation is, so that a cancellation
/// finds it at whatever moment it comes; one that comes before begins nothing. A value that
/// is there by then and was not taken goes back to where it came from.
func waiting<P: Pending>(_ start: () throws -> P) async throws -> P.Value {
    try Task.checkCancellation()
    let pending = try told(start)
    return try await withTaskCancellationHandler {
        await withCheckedContinuation { pending.whenDone(done: Wake($0)) }
        do {
            return try pending.take()
        } catch CasmFFI.CasmError.Cancelled where Task.isCancelled {
            throw CancellationError()
        } catch {
            throw asCasmError(error)
        }
    } onCancel: {
        pending.cancel()
    }
}

/// Makes a call that a cancellation doesn't end, as one that says goodbye: it is bounded by
/// itself.
func finishing<P: Pending>(_ start: () throws -> P) async throws -> P.Value {
    let pending = try told(start)
    await withCheckedContinuation { pending.whenDone(done: Wake($0)) }
    return try told { try pending.take() }
}

/// Wakes who waits for a call.
private final class Wake: Done {
    private let continuation: CheckedContinuation<Void, Never>

    init(_ continuation: CheckedContinuation<Void, Never>) {
        self.continuation = continuation
    }

    func done() {
        continuation.resume()
    }
}

/// Makes a call that doesn't wait.
func told<T>(_ call: () throws -> T) throws -> T {
    do {
        return try call()
    } catch {
        throw asCasmError(error)
    }
}

/// The error that users get.
func asCasmError(_ error: any Error) -> any Error {
    guard let error = error as? CasmFFI.CasmError else { return error }
    return CasmError(error)
}

/// A number as the library takes it.
func number(_ what: String, _ given: Int) throws -> UInt32 {
    guard let number = UInt32(exactly: given) else {
        throw CasmError(.config, "\(what): \(given) is not acceptable: give 0 to \(UInt32.max)")
    }
    return number
}

func count(_ what: String, _ given: Int64) throws -> UInt64 {
    guard let count = UInt64(exactly: given) else {
        throw CasmError(.config, "\(what): \(given) is not acceptable: give 0 or more")
    }
    return count
}

func number(_ what: String, ifAny given: Int?) throws -> UInt32? {
    try given.map { try number(what, $0) }
}

extension Duration {
    /// As the library takes it.
    var inSeconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }

    /// As the library gives it, to the nanosecond: what is 3.334 s there is equal to 3,334
    /// milliseconds here.
    init(inSeconds seconds: Double) {
        self = .nanoseconds(Int64((seconds * 1e9).rounded()))
    }
}

/// How long a call may take whose limit has a default in the library: none is none.
func limit(_ timeout: Duration?) -> Double {
    timeout?.inSeconds ?? .infinity
}
