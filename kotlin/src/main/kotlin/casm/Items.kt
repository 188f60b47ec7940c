package casm

import casm.ffi.ChangeStream
import casm.ffi.EventStream
import casm.ffi.MessageStream
import casm.ffi.PartStream
import casm.ffi.PeerStream
import casm.ffi.RecordStream
import casm.ffi.ReplyStream
import java.time.Duration as JavaDuration
import java.util.concurrent.CompletableFuture
import kotlin.time.Duration
import kotlinx.coroutines.channels.BufferOverflow
import kotlinx.coroutines.channels.Channel as Queue
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.buffer
import kotlinx.coroutines.flow.flow

/**
 * What comes one after the other, to pull: it is subscribed to from the call that gave
 * this on, until it is closed or its node is. One reader at a time.
 *
 * What nobody takes in time is dropped, the oldest first if nothing else was asked, and
 * counted. The flows of the same names are made of these.
 */
public open class Items<T : Any> internal constructor(
    private val start: (Double?) -> Call<T?>,
    private val end: () -> Unit,
    private val lost: () -> Long,
    private val letGo: () -> Unit,
) : AutoCloseable,
    Iterable<T> {
    @Volatile private var over = false

    private fun starting(timeout: Double?): Call<T?>? = if (over) null else translating { start(timeout) }

    /**
     * Waits for the next item; null when there is none any more, because this was closed,
     * or its node. `TIMEOUT` if none came in time: nothing is lost, and it can be called
     * again. There is no limit if none is given.
     */
    @JvmSynthetic
    public suspend fun next(timeout: Duration? = null): T? = starting(timeout.orNone())?.await()

    /** The same, on the calling thread. */
    @JvmName("next")
    @JvmOverloads
    public fun nextBlocking(timeout: JavaDuration? = null): T? = starting(timeout.kotlin().orNone())?.block()

    /** The same, as a future, which calls it off when it is cancelled. */
    @JvmOverloads
    public fun nextAsync(timeout: JavaDuration? = null): CompletableFuture<T?> =
        starting(timeout.kotlin().orNone())?.future() ?: CompletableFuture.completedFuture(null)

    /** How many items were lost because nobody took them in time. */
    public val dropped: Long get() = if (over) 0 else lost()

    /** Ends it, also for a call that is waiting. */
    public fun cancel() {
        end()
    }

    /** Ends it, and lets go of what it holds. */
    override fun close() {
        over = true
        try {
            end()
        } catch (_: IllegalStateException) {
            // It was closed before.
        }
        letGo()
    }

    /** Goes through what comes, on the calling thread, until it ends. */
    override fun iterator(): Iterator<T> = iterator { while (true) yield(nextBlocking() ?: break) }
}

/** The replies of all that were asked. */
public class Replies internal constructor(
    private val given: ReplyStream,
) : Items<PeerReply>({ given.startNext(it).call().map { reply -> reply?.let(PeerReply::of) } }, given::cancel, { 0 }, given::destroy) {
    /**
     * Why there is no further reply: `all`, `limit` or `timeout`; null as long as there
     * may be one.
     */
    public val ended: String? get() = given.ended()
}

internal fun EventStream.items() =
    Items({ startNext(it).call().map { event -> event?.let(Event::of) } }, ::cancel, { dropped().toLong() }, ::destroy)

internal fun ChangeStream.items() =
    Items({ startNext(it).call().map { change -> change?.let(Change::of) } }, ::cancel, { dropped().toLong() }, ::destroy)

internal fun PeerStream.items() =
    Items({ startNext(it).call().map { peer -> peer?.let(PeerFound::of) } }, ::cancel, { dropped().toLong() }, ::destroy)

internal fun RecordStream.items() =
    Items({ startNext(it).call().map { record -> record?.let(Record::of) } }, ::cancel, { dropped().toLong() }, ::destroy)

internal fun MessageStream.items() =
    Items({ startNext(it).call().map { message -> message?.let(Message::of) } }, ::cancel, { dropped().toLong() }, ::destroy)

internal fun PartStream.items() = Items({ startNext(it).call() }, ::cancel, { 0 }, ::destroy)

/** How many items wait in a flow, beside those that wait in the library, unless something else is said. */
public const val FLOW_BUFFER: Int = 64

/**
 * A flow of what is pulled: each collector has its own, from when it begins until it ends
 * or is cancelled. The library is asked for the next only when there is room in the
 * buffer, and holds no thread meanwhile; what is too much is dropped there, and told.
 */
internal fun <T : Any> flowOf(
    buffer: Int = Queue.RENDEZVOUS,
    overflow: BufferOverflow = BufferOverflow.SUSPEND,
    open: suspend () -> Items<T>,
): Flow<T> {
    val pulled = flow { open().use { items -> while (true) emit(items.next() ?: break) } }
    val none = buffer == Queue.RENDEZVOUS && overflow == BufferOverflow.SUSPEND
    return if (none) pulled else pulled.buffer(buffer, overflow)
}
