package casm

import casm.ffi.ChangeListener as GivenChangeListener
import casm.ffi.EventListener as GivenEventListener
import casm.ffi.MessageListener as GivenMessageListener
import casm.ffi.Subscription as Given

/**
 * Is told what happens to a node. Calls come one after the other, on the node's one thread
 * for callbacks, a daemon, and may call anything of the node, also its `close`; what takes
 * longer is for another thread. A call that throws is logged and counted, and the next
 * event comes all the same.
 */
public fun interface EventListener {
    /** Something happened. */
    public fun onEvent(event: Event)
}

/** Is told what a query finds, and every change to that, as an [EventListener] is. */
public fun interface ChangeListener {
    /** What the query finds changed. */
    public fun onChange(change: Change)
}

/** Is told what comes on a topic, as an [EventListener] is what happens. */
public fun interface MessageListener {
    /** A message came. */
    public fun onMessage(message: Message)
}

/**
 * A listener's subscription. It lasts until it is cancelled, or the node is closed, also
 * when nobody holds it.
 */
public class Subscription internal constructor(
    private val given: Given,
) : AutoCloseable {
    /** Calls the listener no more. A call that is running ends in its own time. */
    public fun cancel(): Unit = given.cancel()

    /** The same. */
    override fun close(): Unit = cancel()

    /**
     * How many items were lost because the listener was too slow: the oldest are dropped,
     * unless something else was asked.
     */
    public val dropped: Long get() = given.dropped().toLong()

    /** How many calls of the listener threw. */
    public val failed: Long get() = given.failed().toLong()
}

/** Of what is thrown, the library counts exceptions: an error is made one. */
private inline fun counted(call: () -> Unit) =
    try {
        call()
    } catch (error: Error) {
        throw IllegalStateException("the listener failed: $error", error)
    }

internal fun EventListener.given() =
    object : GivenEventListener {
        override fun onEvent(event: casm.ffi.Event) = counted { this@given.onEvent(Event.of(event)) }
    }

internal fun ChangeListener.given() =
    object : GivenChangeListener {
        override fun onChange(change: casm.ffi.Change) = counted { this@given.onChange(Change.of(change)) }
    }

internal fun MessageListener.given() =
    object : GivenMessageListener {
        override fun onMessage(message: casm.ffi.Message) = counted { this@given.onMessage(Message.of(message)) }
    }
