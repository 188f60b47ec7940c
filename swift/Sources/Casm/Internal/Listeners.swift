internal import CasmFFI
import Foundation

/// A closure as what the library tells. What it throws is logged there and counted; the
/// text of the error goes along.
final class Listening<Given>: Sendable {
    private let closure: @Sendable (Given) throws -> Void

    init(_ closure: @escaping @Sendable (Given) throws -> Void) {
        self.closure = closure
    }

    func tell(_ given: Given) throws {
        do {
            try closure(given)
        } catch {
            throw ListenerError.Failed(reason: reason(error))
        }
    }
}

extension Listening: EventListener where Given == Event {
    func onEvent(event: CasmFFI.Event) throws { try tell(Event(event)) }
}

extension Listening: ChangeListener where Given == Change {
    func onChange(change: CasmFFI.Change) throws { try tell(Change(change)) }
}

extension Listening: MessageListener where Given == Message {
    func onMessage(message: CasmFFI.Message) throws { try tell(Message(message)) }
}

extension Listening: StreamListener where Given == CasmFFI.ByteStream {
    func onStream(stream: CasmFFI.ByteStream, peer: String) throws { try tell(stream) }
}

extension Listening: ServiceHandler where Given == CasmFFI.Request {
    func onRequest(request: CasmFFI.Request) throws { try tell(request) }
}

extension Listening: LogListener where Given == [LogRecord] {
    func onLogs(records: [CasmFFI.LogRecord]) throws { try tell(records.map(LogRecord.init)) }
}

extension Listening: Done where Given == Void {
    func done() throws { try tell(()) }
}

/// What others read of an error: its own text, and not where it comes from.
func reason(_ error: any Error) -> String {
    if let error = error as? any LocalizedError, let text = error.errorDescription { return text }
    return String(describing: error)
}

/// A number that several threads count up.
final class Counter: @unchecked Sendable {
    private let lock = NSLock()
    private var number: UInt64 = 0

    var count: UInt64 { lock.withLock { number } }

    func add() { lock.withLock { number += 1 } }
}
