package casm

import casm.ffi.Query as Given

/** A value of a record that is looked for, or at which a search begins or ends. */
public class Index private constructor(
    private val text: String,
) {
    override fun toString(): String = text

    override fun equals(other: Any?): Boolean = other is Index && other.text == text

    override fun hashCode(): Int = text.hashCode()

    public companion object {
        /** A node, by its peer id. */
        @JvmStatic
        public fun peer(id: String): Index = Index("peer:$id")

        /** A node, by the number of its server, which is read without a sign. */
        @JvmStatic
        public fun server(number: Long): Index = Index("server:" + number.toULong().toString(16).padStart(16, '0'))

        /** The name of a host. */
        @JvmStatic
        public fun host(name: String): Index = Index("host:$name")

        /** A value of the meta data. */
        @JvmStatic
        @JvmOverloads
        public fun meta(
            key: String,
            value: String = "",
        ): Index = Index("meta:$key=$value")

        /** A role that is proven of a node. */
        @JvmStatic
        public fun role(role: String): Index = Index("role:$role")

        /** A service that is served. Only to match. */
        @JvmStatic
        public fun service(name: String): Index = Index("service:$name")

        /** A channel that is there. Only to match. */
        @JvmStatic
        public fun channel(name: String): Index = Index("channel:$name")

        /** As it is written on the command line: `meta:role=worker`. Looked at when it is used. */
        @JvmStatic
        public fun parse(text: String): Index = Index(text)
    }
}

/**
 * What to look for: `Query.matching(Index.meta("role", "worker")).limit(10)`.
 *
 * It is checked when it is used: a value that is not acceptable is `CONFIG` then, and
 * parts that don't go together are `INVALID`.
 */
public data class Query(
    /** The value to match; not with [from]. */
    val match: Index? = null,
    /** Whether values that begin like [match] are found too. */
    val prefix: Boolean = false,
    /** The value to begin at. */
    val from: Index? = null,
    /** The last value. */
    val to: Index? = null,
    /** The most records. */
    val limit: Int? = null,
    /** Whether to go from higher values to lower ones. */
    val reverse: Boolean = false,
) {
    /** At most so many records. */
    public fun limit(most: Int): Query = copy(limit = most)

    /** From higher values to lower ones. */
    public fun reversed(): Query = copy(reverse = true)

    /** Up to this value. */
    public fun to(last: Index): Query = copy(to = last)

    internal fun given() =
        Given(
            matching = match?.toString(),
            prefix = prefix,
            from = from?.toString(),
            to = to?.toString(),
            limit = limit?.unsigned("limit"),
            reverse = reverse,
        )

    public companion object {
        /** Every record, in the order of the peers. */
        @JvmStatic
        public fun all(): Query = Query()

        /** The records that have this value. */
        @JvmStatic
        public fun matching(index: Index): Query = Query(match = index)

        /** The same, as it is written on the command line: `meta:role=worker`. */
        @JvmStatic
        public fun matching(text: String): Query = Query(match = Index.parse(text))

        /** The records whose value begins like this one. */
        @JvmStatic
        public fun prefix(index: Index): Query = Query(match = index, prefix = true)

        /** The records from this value on, in the order of the values. */
        @JvmStatic
        public fun from(index: Index): Query = Query(from = index)

        /** Those of whom this role is proven. */
        @JvmStatic
        public fun role(role: String): Query = matching(Index.role(role))

        /** Who serves this service. */
        @JvmStatic
        public fun service(name: String): Query = matching(Index.service(name))

        /** Who has this channel. */
        @JvmStatic
        public fun channel(name: String): Query = matching(Index.channel(name))
    }
}
