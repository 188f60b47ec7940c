internal import CasmFFI

/// What to look for in a view.
///
/// ```swift
/// Query.matching(.meta("role", "worker"))
/// Query.matching(.host("web-"), prefix: true, limit: 10)
/// Query.range(from: .host("a"), to: .host("b"), reverse: true)
/// ```
///
/// It is `Codable`, so that it can be sent, and a string literal can be one:
/// `"meta:role=worker"` is the first of these. What doesn't go together is refused
/// where the query is used, with ``CasmError/Kind/invalid`` or
/// ``CasmError/Kind/config``.
public struct Query: Sendable, Hashable {
    /// A field and a value in it, or for a prefix the beginning of one.
    public struct Term: Sendable, Hashable, CustomStringConvertible {
        /// As text, as the command line has it too: `meta:role=worker`.
        public let description: String

        /// A term from text: `peer:ID`, `server:HEX`, `host:NAME`, `meta:KEY=VALUE`,
        /// `role:ROLE`; to match, also `service:NAME` and `channel:NAME`.
        public init(_ text: String) {
            description = text
        }

        /// A peer's id.
        public static func peer(_ id: String) -> Self { Self("peer:\(id)") }

        /// The number of a server, which follows from its id.
        public static func server(_ number: UInt64) -> Self {
            let text = String(number, radix: 16)
            return Self("server:" + String(repeating: "0", count: 16 - text.count) + text)
        }

        /// The name of a host.
        public static func host(_ name: String) -> Self { Self("host:\(name)") }

        /// What a node says of itself under a key.
        public static func meta(_ key: String, _ value: String) -> Self {
            Self("meta:\(key)=\(value)")
        }

        /// A role that is proven of a node.
        public static func role(_ role: String) -> Self { Self("role:\(role)") }

        /// A service that is offered. Not for ranges.
        public static func service(_ name: String) -> Self { Self("service:\(name)") }

        /// A channel that is at the node's place. Not for ranges.
        public static func channel(_ name: String) -> Self { Self("channel:\(name)") }
    }

    /// The value to match; not with `from`.
    public var match: Term?
    /// Whether values that begin like the one to match are found too.
    public var prefix: Bool
    /// The value to begin at.
    public var from: Term?
    /// The last value.
    public var to: Term?
    /// The most records; `nil` for all.
    public var limit: Int?
    /// From higher values to lower ones.
    public var reverse: Bool

    /// A query; of all records if nothing is said.
    public init(
        match: Term? = nil, prefix: Bool = false, from: Term? = nil, to: Term? = nil,
        limit: Int? = nil, reverse: Bool = false
    ) {
        self.match = match
        self.prefix = prefix
        self.from = from
        self.to = to
        self.limit = limit
        self.reverse = reverse
    }

    /// All records, in the order of their peers.
    public static let all = Query()

    /// The records with this value, or whose value begins like it.
    public static func matching(
        _ term: Term, prefix: Bool = false, limit: Int? = nil, reverse: Bool = false
    ) -> Self {
        Self(match: term, prefix: prefix, limit: limit, reverse: reverse)
    }

    /// The records from a value on, to another one of the same field and with it, in
    /// the order of the field.
    public static func range(
        from: Term, to: Term? = nil, limit: Int? = nil, reverse: Bool = false
    ) -> Self {
        Self(from: from, to: to, limit: limit, reverse: reverse)
    }

    /// The members of whom a role is proven.
    public static func role(_ role: String) -> Self { .matching(.role(role)) }

    /// The members that offer a service.
    public static func service(_ name: String) -> Self { .matching(.service(name)) }
}

extension Query: ExpressibleByStringLiteral {
    public init(stringLiteral text: String) {
        self.init(match: Term(text))
    }
}

extension Query: Codable {
    enum CodingKeys: String, CodingKey {
        case match, prefix, from, to, limit, reverse
    }

    /// What is left out has its default.
    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            match: try fields.decodeIfPresent(Term.self, forKey: .match),
            prefix: try fields.decodeIfPresent(Bool.self, forKey: .prefix) ?? false,
            from: try fields.decodeIfPresent(Term.self, forKey: .from),
            to: try fields.decodeIfPresent(Term.self, forKey: .to),
            limit: try fields.decodeIfPresent(Int.self, forKey: .limit),
            reverse: try fields.decodeIfPresent(Bool.self, forKey: .reverse) ?? false
        )
    }

    /// With the names that the options have in every language: `{"match":
    /// "meta:role=worker", "limit": 10}`.
    public func encode(to encoder: any Encoder) throws {
        var fields = encoder.container(keyedBy: CodingKeys.self)
        try fields.encodeIfPresent(match, forKey: .match)
        if prefix { try fields.encode(true, forKey: .prefix) }
        try fields.encodeIfPresent(from, forKey: .from)
        try fields.encodeIfPresent(to, forKey: .to)
        try fields.encodeIfPresent(limit, forKey: .limit)
        if reverse { try fields.encode(true, forKey: .reverse) }
    }
}

extension Query.Term: Codable {
    public init(from decoder: any Decoder) throws {
        self.init(try decoder.singleValueContainer().decode(String.self))
    }

    public func encode(to encoder: any Encoder) throws {
        var value = encoder.singleValueContainer()
        try value.encode(description)
    }
}

extension Query {
    func ffi() throws -> CasmFFI.Query {
        CasmFFI.Query(
            matching: match?.description, prefix: prefix, from: from?.description,
            to: to?.description, limit: try number("limit", ifAny: limit), reverse: reverse)
    }
}
