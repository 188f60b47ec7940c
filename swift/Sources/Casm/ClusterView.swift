internal import CasmFFI

/// A snapshot of the cluster: it stays as it was. (`View` is SwiftUI's.)
///
/// ```swift
/// for record in try node.view().records(.matching(.meta("role", "worker"))) {
///     print(record.peer, record.host)
/// }
/// ```
public final class ClusterView: Sendable, Sequence {
    private let ffi: CasmFFI.View

    init(_ ffi: CasmFFI.View) {
        self.ffi = ffi
    }

    /// How many records it holds.
    public var count: Int { Int(ffi.len()) }

    /// The records that a query finds, in its order.
    public func records(_ query: Query = .all) throws -> [Record] {
        try told { try ffi.iter(query: try query.ffi()) }.map(Record.init)
    }

    /// The first record that a query finds.
    public func first(_ query: Query) throws -> Record? {
        try told { try ffi.lookup(query: try query.ffi()) }.map(Record.init)
    }

    /// How many records a query finds.
    public func count(_ query: Query) throws -> Int {
        Int(try told { try ffi.count(query: try query.ffi()) })
    }

    /// The record of a peer.
    public func get(_ peer: String) throws -> Record? {
        try told { try ffi.get(peer: peer) }.map(Record.init)
    }

    /// All records, in the order of their peers.
    public func makeIterator() -> IndexingIterator<[Record]> {
        // This query asks for nothing that could be refused.
        ((try? records()) ?? []).makeIterator()
    }
}

/// The view of another node, as it is there: each query is answered by that node when it
/// is asked.
public final class RemoteView: Sendable {
    private let ffi: CasmFFI.RemoteView
    private let node: CasmFFI.Node

    init(_ ffi: CasmFFI.RemoteView, of node: CasmFFI.Node) {
        self.ffi = ffi
        self.node = node
    }

    /// The id of the node whose view it is.
    public var peer: String { ffi.peer() }

    /// The records that a query finds, as they come.
    public func records(_ query: Query = .all) throws -> Results<Record> {
        let records = try told { try ffi.iter(query: try query.ffi()) }
        return Results(Source(of: node, records, Record.init))
    }

    /// The first record that a query finds.
    public func first(_ query: Query, timeout: Duration? = nil) async throws -> Record? {
        let query = try query.ffi()
        return try await waiting { ffi.startLookup(query: query, timeout: timeout?.inSeconds) }
            .map(Record.init)
    }

    /// How many records a query finds.
    public func count(_ query: Query = .all, timeout: Duration? = nil) async throws -> Int {
        let query = try query.ffi()
        return Int(
            try await waiting { ffi.startCount(query: query, timeout: timeout?.inSeconds) })
    }

    /// The record of a peer.
    public func get(_ peer: String, timeout: Duration? = nil) async throws -> Record? {
        try await waiting { ffi.startGet(peer: peer, timeout: timeout?.inSeconds) }
            .map(Record.init)
    }
}
