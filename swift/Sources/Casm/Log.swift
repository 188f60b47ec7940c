internal import CasmFFI

/// How much is logged.
public enum LogLevel: String, Sendable, Hashable, CaseIterable {
    /// Nothing.
    case off
    /// What went wrong.
    case error
    /// What may go wrong.
    case warn
    /// What a user wants to know.
    case info
    /// What a developer wants to know.
    case debug
    /// Everything.
    case trace
}

/// One log record.
public struct LogRecord: Sendable, Hashable {
    /// How bad it is.
    public let level: LogLevel
    /// The part of CASM, such as `casm::boot`.
    public let target: String
    /// The message, with its fields.
    public let message: String

    init(_ record: CasmFFI.LogRecord) {
        level =
            switch record.level {
            case .off: .off
            case .error: .error
            case .warn: .warn
            case .info: .info
            case .debug: .debug
            case .trace: .trace
            }
        target = record.target
        message = record.message
    }
}

/// Hands CASM's log records of this level and worse to a closure, some at a time, on a
/// thread of its own. Calling it again changes level and closure; a closure that throws is
/// called again.
public func forwardLogs(
    _ level: LogLevel, to closure: @escaping @Sendable ([LogRecord]) throws -> Void
) throws {
    let given: CasmFFI.LogLevel =
        switch level {
        case .off: .off
        case .error: .error
        case .warn: .warn
        case .info: .info
        case .debug: .debug
        case .trace: .trace
        }
    try told {
        try CasmFFI.forwardLogs(level: given, listener: Listening<[LogRecord]>(closure))
    }
}
