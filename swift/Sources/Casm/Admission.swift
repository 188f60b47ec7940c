internal import CasmFFI
import Foundation

/// Where the certificate of a node is.
public enum Certificate: Sendable, Hashable {
    /// In this file, which is read again when it changes.
    case file(String)
    /// Here: what a file holds.
    case data(Data)

    var ffi: CasmFFI.Certificate {
        switch self {
        case .file(let path): .file(path: path)
        case .data(let data): .bytes(data: data)
        }
    }
}

/// Whom a node takes. None of these calls waits, and a change counts at once: connections
/// of who is not taken any more are closed, and its record leaves the view. Who is taken
/// again comes back by itself.
extension Node {
    /// Takes these peers too. With the first one there is an allow list, and who is not on
    /// it gets no connection and no answer, and is in no view. This node itself is always
    /// taken.
    ///
    /// - Throws: ``CasmError/Kind/address`` if one is no peer id, ``CasmError/Kind/config``
    ///   above 65536 ids: then nothing is changed.
    public func allow(_ ids: some Sequence<String>) throws {
        try told { try ffi.allow(ids: Array(ids)) }
    }

    /// Takes these peers too.
    public func allow(_ ids: String...) throws { try allow(ids) }

    /// Takes peers off the allow list. When the last one has gone, nobody is taken:
    /// ``allowAll()`` takes everybody. Without an allow list it does nothing.
    public func disallow(_ ids: some Sequence<String>) throws {
        try told { try ffi.disallow(ids: Array(ids)) }
    }

    /// Takes peers off the allow list.
    public func disallow(_ ids: String...) throws { try disallow(ids) }

    /// Does without an allow list: everybody is taken who is not denied.
    public func allowAll() throws { try told { try ffi.allowAll() } }

    /// Puts these in the place of the allow list, in one step: none of them means that
    /// nobody is taken.
    public func setAllowed(_ ids: some Sequence<String>) throws {
        try told { try ffi.setAllowed(ids: Array(ids)) }
    }

    /// The allow list, in the order of the ids; `nil` if there is none and everybody is
    /// taken.
    public func allowed() throws -> [String]? { try told { try ffi.allowed() } }

    /// Doesn't take these peers any more, whether they are allowed or not: they leave the
    /// view as those that have left.
    ///
    /// - Throws: ``CasmError/Kind/address`` if one is no peer id, ``CasmError/Kind/config``
    ///   if this node is among them, or above 65536 ids: then nothing is changed.
    public func deny(_ ids: some Sequence<String>) throws {
        try told { try ffi.deny(ids: Array(ids)) }
    }

    /// Doesn't take these peers any more.
    public func deny(_ ids: String...) throws { try deny(ids) }

    /// Takes peers off the deny list. They come back by themselves.
    public func undeny(_ ids: some Sequence<String>) throws {
        try told { try ffi.undeny(ids: Array(ids)) }
    }

    /// Takes peers off the deny list.
    public func undeny(_ ids: String...) throws { try undeny(ids) }

    /// Puts these in the place of the deny list, in one step.
    public func setDenied(_ ids: some Sequence<String>) throws {
        try told { try ffi.setDenied(ids: Array(ids)) }
    }

    /// The deny list, in the order of the ids.
    public func denied() throws -> [String] { try told { try ffi.denied() } }

    /// Puts another certificate, as its file has it, in the place of this node's, before
    /// that one ends. Connections go on.
    ///
    /// - Throws: ``CasmError/Kind/config`` if it is not acceptable, and then the old one
    ///   stays; ``CasmError/Kind/invalid`` if the node was started without
    ///   ``Config/admit``.
    public func renew(_ certificate: Data) throws {
        try told { try ffi.renew(certificate: certificate) }
    }

    /// Puts out those whose certificates these revocations, as a file has them, take back:
    /// here and wherever members are. Gives how many were new here.
    ///
    /// - Throws: ``CasmError/Kind/config`` if one is not acceptable,
    ///   ``CasmError/Kind/invalid`` if the node was started without ``Config/admit``.
    @discardableResult
    public func revoke(_ revocations: Data) throws -> Int {
        Int(try told { try ffi.revoke(revocations: revocations) })
    }
}
