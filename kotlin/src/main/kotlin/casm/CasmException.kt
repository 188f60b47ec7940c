package casm

import casm.ffi.CasmException as Given

/**
 * What a call of CASM fails with: its [kind], and a message that names what was wrong,
 * the value, and what to do.
 */
public open class CasmException
    @JvmOverloads
    constructor(
        /** What went wrong. */
        public val kind: Kind,
        message: String,
        cause: Throwable? = null,
    ) : RuntimeException(message, cause) {
        /**
         * What went wrong. It is no enum, since later versions may know more kinds: have
         * an `else`.
         */
        public class Kind internal constructor(
            /** Its name, which is the same in every language: `NotFound`. */
            public val name: String,
        ) {
            override fun equals(other: Any?): Boolean = other is Kind && other.name == name

            override fun hashCode(): Int = name.hashCode()

            override fun toString(): String = name

            public companion object {
                /** A configuration value is not acceptable. */
                @JvmField public val CONFIG: Kind = Kind("Config")

                /** An address cannot be parsed or is of a kind that is not supported. */
                @JvmField public val ADDRESS: Kind = Kind("Address")

                /** A socket could not be bound. */
                @JvmField public val BIND: Kind = Kind("Bind")

                /** The node, or the thing that was used, is closed. */
                @JvmField public val CLOSED: Kind = Kind("Closed")

                /** It did not happen in the time given. */
                @JvmField public val TIMEOUT: Kind = Kind("Timeout")

                /** The caller, or a close, called it off. */
                @JvmField public val CANCELLED: Kind = Kind("Cancelled")

                /** What was asked for does not exist. */
                @JvmField public val NOT_FOUND: Kind = Kind("NotFound")

                /** The peer could not be reached. */
                @JvmField public val UNREACHABLE: Kind = Kind("Unreachable")

                /** The other side does not speak the protocol, or broke its rules. */
                @JvmField public val PROTOCOL: Kind = Kind("Protocol")

                /** The bytes or the argument are malformed. */
                @JvmField public val INVALID: Kind = Kind("Invalid")

                /** It exceeds a limit on size or number. */
                @JvmField public val TOO_LARGE: Kind = Kind("TooLarge")

                /** A limit on concurrent work or on rates is reached: try again later. */
                @JvmField public val BUSY: Kind = Kind("Busy")

                /** The operating system reported an error. */
                @JvmField public val IO: Kind = Kind("Io")

                /** The node is paused: resume it first. */
                @JvmField public val PAUSED: Kind = Kind("Paused")

                /** The handler of a service failed, here or elsewhere: the message is its own. */
                @JvmField public val REMOTE: Kind = Kind("Remote")

                /** A defect in CASM. */
                @JvmField public val INTERNAL: Kind = Kind("Internal")

                /** All kinds that this version knows. */
                @JvmStatic
                public fun all(): List<Kind> =
                    listOf(
                        CONFIG, ADDRESS, BIND, CLOSED, TIMEOUT, CANCELLED, NOT_FOUND, UNREACHABLE,
                        PROTOCOL, INVALID, TOO_LARGE, BUSY, IO, PAUSED, REMOTE, INTERNAL,
                    )

                internal fun named(name: String) = all().find { it.name == name } ?: Kind(name)
            }
        }
    }

/** Makes ours of what the library throws. */
internal inline fun <T> translating(call: () -> T): T =
    try {
        call()
    } catch (error: Given) {
        throw ours(error)
    } catch (error: IllegalStateException) {
        throw if (error.isOfDestroyed()) closed() else error
    }

/** So the generated code says that an object was let go of. */
internal fun IllegalStateException.isOfDestroyed(): Boolean = message?.endsWith("has already been destroyed") == true

internal fun closed(): CasmException = CasmException(CasmException.Kind.CLOSED, "it is closed")

internal fun ours(error: Given): CasmException {
    // Without an else: a kind that is new does not compile.
    val kind =
        when (error) {
            is Given.Config -> CasmException.Kind.CONFIG
            is Given.Address -> CasmException.Kind.ADDRESS
            is Given.Bind -> CasmException.Kind.BIND
            is Given.Closed -> CasmException.Kind.CLOSED
            is Given.Timeout -> CasmException.Kind.TIMEOUT
            is Given.Cancelled -> CasmException.Kind.CANCELLED
            is Given.NotFound -> CasmException.Kind.NOT_FOUND
            is Given.Unreachable -> CasmException.Kind.UNREACHABLE
            is Given.Protocol -> CasmException.Kind.PROTOCOL
            is Given.Invalid -> CasmException.Kind.INVALID
            is Given.TooLarge -> CasmException.Kind.TOO_LARGE
            is Given.Busy -> CasmException.Kind.BUSY
            is Given.Io -> CasmException.Kind.IO
            is Given.Paused -> CasmException.Kind.PAUSED
            is Given.Remote -> CasmException.Kind.REMOTE
            is Given.Internal -> CasmException.Kind.INTERNAL
        }
    return CasmException(kind, error.message ?: kind.name)
}
