@file:JvmMultifileClass
@file:JvmName("Casm")

package casm

import casm.ffi.Branch as GivenBranch
import casm.ffi.Channel as Given
import casm.ffi.Job as GivenJob
import casm.ffi.startSelect
import java.time.Duration as JavaDuration
import java.util.concurrent.CompletableFuture
import kotlin.time.Duration
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow

/**
 * A channel, of this node or of another: values are handed from senders to receivers,
 * each to one, never twice, and lost only with a process.
 *
 * A call that is cancelled loses nothing: the value goes back, or to the next receiver.
 */
public class Channel internal constructor(
    private val given: Given,
) {
    /** Its name. */
    public val name: String get() = translating { given.name() }

    /** The id of the node whose it is. */
    public val owner: String get() = translating { given.owner() }

    /** How many values wait in it; null if it is another node's. */
    public val waiting: Int? get() = translating { given.waiting() }?.toCount()

    /**
     * How many values of a channel elsewhere may be ours, or are and were not received
     * yet: the next receivers here get them.
     */
    public val inDoubt: Int get() = translating { given.inDoubt() }.toCount()

    private fun sendingOff(
        value: ByteArray,
        timeout: Double?,
    ) = translating { given.startSend(value, timeout).call() }

    /**
     * Sends a value of at most 1 MiB, and waits until there is room for it, or, at
     * capacity 0, until it is received. `TIMEOUT` means that it was not taken in, and
     * will not be; `CLOSED` that the channel is.
     */
    @JvmSynthetic
    public suspend fun send(
        value: ByteArray,
        timeout: Duration? = null,
    ): Unit = sendingOff(value, timeout.orNone()).await()

    /** The same, on the calling thread. */
    @JvmName("send")
    @JvmOverloads
    public fun sendBlocking(
        value: ByteArray,
        timeout: JavaDuration? = null,
    ): Unit = sendingOff(value, timeout.kotlin().orNone()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun sendAsync(
        value: ByteArray,
        timeout: JavaDuration? = null,
    ): CompletableFuture<Void?> = sendingOff(value, timeout.kotlin().orNone()).futureOfNothing()

    private fun getting(timeout: Double?) = translating { given.startRecv(timeout).call() }

    /** Receives a value; `CLOSED` when the channel is, and is empty. */
    @JvmSynthetic
    public suspend fun recv(timeout: Duration? = null): ByteArray = getting(timeout.orNone()).await()

    /** The same, on the calling thread. */
    @JvmName("recv")
    @JvmOverloads
    public fun recvBlocking(timeout: JavaDuration? = null): ByteArray = getting(timeout.kotlin().orNone()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun recvAsync(timeout: JavaDuration? = null): CompletableFuture<ByteArray> =
        getting(timeout.kotlin().orNone()).future()

    /** Every value until the channel is closed and empty. Other ends fail, as [recv] does. */
    @JvmSynthetic
    public fun values(): Flow<ByteArray> =
        flow {
            while (true) {
                val value =
                    try {
                        recv()
                    } catch (error: CasmException) {
                        if (error.kind == CasmException.Kind.CLOSED) break
                        throw error
                    }
                emit(value)
            }
        }

    private fun taking(timeout: Double?) = translating { given.startTake(timeout).call() }.map(::Job)

    /**
     * Takes a value as a job, which comes back to the channel unless it is done: at least
     * once.
     */
    @JvmSynthetic
    public suspend fun take(timeout: Duration? = null): Job = taking(timeout.orNone()).await()

    /** The same, on the calling thread. */
    @JvmName("take")
    @JvmOverloads
    public fun takeBlocking(timeout: JavaDuration? = null): Job = taking(timeout.kotlin().orNone()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun takeAsync(timeout: JavaDuration? = null): CompletableFuture<Job> =
        taking(timeout.kotlin().orNone()).future()

    private fun ending(timeout: Double?) = translating { given.startClose(timeout).call() }

    /**
     * Closes it for all: sends fail from now on, and receivers get what is in it and then
     * end. Its owner may, and others if it was made so. `CLOSED` the second time.
     */
    @JvmSynthetic
    public suspend fun close(timeout: Duration? = null): Unit = ending(timeout.orNone()).await()

    /** The same, on the calling thread. */
    @JvmName("close")
    @JvmOverloads
    public fun closeBlocking(timeout: JavaDuration? = null): Unit = ending(timeout.kotlin().orNone()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun closeAsync(timeout: JavaDuration? = null): CompletableFuture<Void?> =
        ending(timeout.kotlin().orNone()).futureOfNothing()

    /** To receive from it in a [select]. */
    public fun receiving(): Branch = Branch(translating { given.receiving() })

    /** To send this to it in a [select]; it must be this node's own. */
    public fun sending(value: ByteArray): Branch = Branch(translating { given.sending(value) })
}

/** One thing that a [select] may do. */
public class Branch internal constructor(
    internal val given: GivenBranch,
)

/** What a [select] did. */
public class Selected(
    /** The number of the branch. */
    public val index: Int,
    /** The value, if the branch received one. */
    public val value: ByteArray?,
) {
    /** [index]. */
    public operator fun component1(): Int = index

    /** [value]. */
    public operator fun component2(): ByteArray? = value
}

private fun selecting(
    branches: List<Branch>,
    timeout: Double?,
) = translating { startSelect(branches.map { it.given }, timeout).call() }
    .map { Selected(it.index.toCount(), it.value) }

/**
 * Does the first of some branches that can be done. If several can be done, one is chosen
 * at random; one that was not chosen has had no effect. Channels that are closed and empty
 * are passed over while there are others.
 */
@JvmSynthetic
public suspend fun select(
    vararg branches: Branch,
    timeout: Duration? = null,
): Selected = selecting(branches.toList(), timeout.orNone()).await()

/** The same, on the calling thread. */
@JvmName("select")
@JvmOverloads
public fun selectBlocking(
    branches: List<Branch>,
    timeout: JavaDuration? = null,
): Selected = selecting(branches, timeout.kotlin().orNone()).block()

/** The same, as a future. */
@JvmOverloads
public fun selectAsync(
    branches: List<Branch>,
    timeout: JavaDuration? = null,
): CompletableFuture<Selected> = selecting(branches, timeout.kotlin().orNone()).future()

/**
 * A value that was taken as a job. It goes back to the head of the channel when it is
 * closed undone, when the connection to the channel's owner ends, or if that hears nothing
 * for 10 s.
 */
public class Job internal constructor(
    private val given: GivenJob,
) : AutoCloseable {
    /** The value; empty once the job is ended. */
    public val data: ByteArray get() = translating { given.data() }

    /** Whether it has gone back, or is ended. */
    @get:JvmName("isLost")
    public val lost: Boolean get() = translating { given.lost() }

    private fun doing(timeout: Double?) = translating { given.startDone(timeout).call() }

    /**
     * The job is done, and the value gone from the channel. `NOT_FOUND` if it has gone
     * back, so that another may do it too.
     */
    @JvmSynthetic
    public suspend fun done(timeout: Duration? = null): Unit = doing(timeout.orNone()).await()

    /** The same, on the calling thread. */
    @JvmName("done")
    @JvmOverloads
    public fun doneBlocking(timeout: JavaDuration? = null): Unit = doing(timeout.kotlin().orNone()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun doneAsync(timeout: JavaDuration? = null): CompletableFuture<Void?> =
        doing(timeout.kotlin().orNone()).futureOfNothing()

    private fun giving(timeout: Double?) = translating { given.startGiveBack(timeout).call() }

    /** The value goes back to where it was. */
    @JvmSynthetic
    public suspend fun giveBack(timeout: Duration? = null): Unit = giving(timeout.orNone()).await()

    /** The same, on the calling thread. */
    @JvmName("giveBack")
    @JvmOverloads
    public fun giveBackBlocking(timeout: JavaDuration? = null): Unit = giving(timeout.kotlin().orNone()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun giveBackAsync(timeout: JavaDuration? = null): CompletableFuture<Void?> =
        giving(timeout.kotlin().orNone()).futureOfNothing()

    /** Lets go of it: if it is not done, it goes back. Doesn't wait. */
    override fun close(): Unit = given.destroy()
}
