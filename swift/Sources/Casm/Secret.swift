internal import CasmFFI
public import Foundation

/// The pre-shared key of a private cluster: 32 random bytes, as a `swarm.key` of libp2p
/// holds them. Who doesn't hold it can't connect, gets no answer, and learns neither
/// names nor addresses.
///
/// ```swift
/// let secret = try Secret.load("/run/secrets/swarm.key")
/// let node = try await Node.start(Config(namespace: "demo", secret: secret))
/// ```
///
/// Nothing prints it: its ``fingerprint`` is what can be shown and compared. It is read
/// and written where it is called: files are small.
public final class Secret: Sendable {
    let ffi: CasmFFI.Secret

    private init(_ ffi: CasmFFI.Secret) {
        self.ffi = ffi
    }

    /// A new secret, of the system's randomness.
    public static func generate() throws -> Secret {
        try Secret(told { try CasmFFI.Secret.generate() })
    }

    /// What a `swarm.key` file holds, in base16, base64 or bin: from a keychain, or with
    /// an app.
    ///
    /// - Throws: ``CasmError/Kind/config`` if it is none, cut, or goes on. Nothing of what
    ///   it holds is in the message.
    public static func parse(_ file: Data) throws -> Secret {
        try Secret(told { try CasmFFI.Secret.parse(file: file) })
    }

    /// The secret in a `swarm.key` file.
    ///
    /// - Throws: ``CasmError/Kind/io`` if it cannot be read, ``CasmError/Kind/config`` as
    ///   of ``parse(_:)``.
    public static func load(_ path: String) throws -> Secret {
        try Secret(told { try CasmFFI.Secret.load(path: path) })
    }

    /// Writes it into a new file, in base16, which only its owner can read.
    ///
    /// - Throws: ``CasmError/Kind/config`` if the file exists: it is not overwritten;
    ///   ``CasmError/Kind/io`` if it cannot be written.
    public func save(_ path: String) throws { try told { try ffi.save(path: path) } }

    /// 32 hex digits that tell secrets apart, as other stacks show them, and say nothing
    /// of them.
    public var fingerprint: String { ffi.fingerprint() }
}

extension Secret: CustomStringConvertible {
    /// Tells which it is, and not the secret.
    public var description: String { "Secret(\(fingerprint))" }
}
