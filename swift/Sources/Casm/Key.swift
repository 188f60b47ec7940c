internal import CasmFFI

/// A node's identity: an ed25519 key, or whatever a key file holds.
///
/// A key is read and written where it is called: files are small.
public final class Key: Sendable {
    let ffi: CasmFFI.Key

    private init(_ ffi: CasmFFI.Key) {
        self.ffi = ffi
    }

    /// A fresh ed25519 key.
    public static func generate() throws -> Key { try Key(told { try CasmFFI.Key.generate() }) }

    /// The key in a file.
    ///
    /// - Throws: ``CasmError/Kind/io`` if it cannot be read, ``CasmError/Kind/config`` if
    ///   it holds no key.
    public static func load(_ path: String) throws -> Key {
        try Key(told { try CasmFFI.Key.load(path: path) })
    }

    /// Writes it into a new file, which only its owner can read.
    public func save(_ path: String) throws { try told { try ffi.save(path: path) } }

    /// The id of a node that has this key.
    public var peer: String { ffi.peer() }
}
