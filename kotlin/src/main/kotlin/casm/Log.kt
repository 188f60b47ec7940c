@file:JvmMultifileClass
@file:JvmName("Casm")

package casm

import casm.ffi.LogLevel as GivenLevel
import casm.ffi.LogListener as GivenListener
import casm.ffi.LogRecord as Given
import casm.ffi.forwardLogs as forward

/** How much is told. */
public enum class LogLevel {
    /** Nothing. */
    OFF,

    /** What went wrong. */
    ERROR,

    /** What may go wrong. */
    WARN,

    /** What a user wants to know. */
    INFO,

    /** What a developer wants to know. */
    DEBUG,

    /** Everything. */
    TRACE,
    ;

    internal fun given() = GivenLevel.valueOf(name)
}

/** One log record. */
public data class LogRecord(
    /** How bad it is. */
    val level: LogLevel,
    /** The part of CASM, such as `casm::boot`. */
    val target: String,
    /** The message, with its fields. */
    val message: String,
)

/** Is told log records, one call after the other, on a thread of its own, a daemon. */
public fun interface LogListener {
    /** These are new. */
    public fun onLogs(records: List<LogRecord>)
}

/**
 * Hands CASM's log records of this level and worse to a listener, of all nodes of the
 * program. Calling it again changes level and listener. Nothing is told before it is called.
 */
public fun forwardLogs(
    level: LogLevel,
    listener: LogListener,
) {
    val given =
        object : GivenListener {
            override fun onLogs(records: List<Given>) =
                listener.onLogs(records.map { LogRecord(LogLevel.valueOf(it.level.name), it.target, it.message) })
        }
    Threads.prepare()
    translating { forward(level.given(), given) }
}
