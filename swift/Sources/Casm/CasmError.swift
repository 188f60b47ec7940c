import Foundation

internal import CasmFFI

/// What went wrong: its kind, and a message that names what was wrong, the value, and
/// what to do.
///
/// ```swift
/// do {
///     try await node.connect("/ip4/192.0.2.1/tcp/4001")
/// } catch let error as CasmError where error.kind == .unreachable {
///     print(error.message)
/// }
/// ```
///
/// A call whose task is cancelled throws `CancellationError`, as Swift's own do.
public struct CasmError: Error, Sendable, Hashable {
    /// What kind of error it is. Later versions may know more kinds: a `switch` over
    /// them needs a `default`.
    public struct Kind: RawRepresentable, Sendable, Hashable, Codable {
        /// The kind's name, which is the same in every language: `NotFound`.
        public let rawValue: String

        public init(rawValue: String) {
            self.rawValue = rawValue
        }

        /// A configuration value is not acceptable.
        public static let config = Kind(rawValue: "Config")
        /// An address cannot be parsed or is of a kind that is not supported.
        public static let address = Kind(rawValue: "Address")
        /// A socket could not be bound.
        public static let bind = Kind(rawValue: "Bind")
        /// The node, or the thing that was used, is closed.
        public static let closed = Kind(rawValue: "Closed")
        /// It did not happen in the time given.
        public static let timeout = Kind(rawValue: "Timeout")
        /// A close called it off. (A cancelled task throws `CancellationError`.)
        public static let cancelled = Kind(rawValue: "Cancelled")
        /// What was asked for does not exist.
        public static let notFound = Kind(rawValue: "NotFound")
        /// The peer could not be reached.
        public static let unreachable = Kind(rawValue: "Unreachable")
        /// The other side does not speak the protocol, or broke its rules.
        public static let `protocol` = Kind(rawValue: "Protocol")
        /// The bytes or the argument are malformed.
        public static let invalid = Kind(rawValue: "Invalid")
        /// It exceeds a limit on size or number.
        public static let tooLarge = Kind(rawValue: "TooLarge")
        /// A limit on concurrent work or on rates is reached: try again later.
        public static let busy = Kind(rawValue: "Busy")
        /// The operating system reported an error.
        public static let io = Kind(rawValue: "Io")
        /// The node is paused: resume it first.
        public static let paused = Kind(rawValue: "Paused")
        /// The handler of a service failed, here or elsewhere: the message is its own.
        public static let remote = Kind(rawValue: "Remote")
        /// A defect in CASM.
        public static let `internal` = Kind(rawValue: "Internal")
    }

    /// What kind of error it is.
    public let kind: Kind
    /// What was wrong, the value, and what to do.
    public let message: String

    /// An error: for tests, and for stand-ins.
    public init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }
}

extension CasmError: LocalizedError {
    public var errorDescription: String? { message }
}

extension CasmError: CustomStringConvertible {
    public var description: String { "\(kind.rawValue): \(message)" }
}

extension CasmError {
    /// What the library threw.
    init(_ error: CasmFFI.CasmError) {
        self =
            switch error {
            case .Config(let message): Self(.config, message)
            case .Address(let message): Self(.address, message)
            case .Bind(let message): Self(.bind, message)
            case .Closed(let message): Self(.closed, message)
            case .Timeout(let message): Self(.timeout, message)
            case .Cancelled(let message): Self(.cancelled, message)
            case .NotFound(let message): Self(.notFound, message)
            case .Unreachable(let message): Self(.unreachable, message)
            case .Protocol(let message): Self(.protocol, message)
            case .Invalid(let message): Self(.invalid, message)
            case .TooLarge(let message): Self(.tooLarge, message)
            case .Busy(let message): Self(.busy, message)
            case .Io(let message): Self(.io, message)
            case .Paused(let message): Self(.paused, message)
            case .Remote(let message): Self(.remote, message)
            case .Internal(let message): Self(.internal, message)
            }
    }
}
