package casm

import casm.ffi.Lease as GivenLease
import casm.ffi.Semaphore as Given
import java.time.Duration as JavaDuration
import java.util.concurrent.CompletableFuture
import kotlin.time.Duration

/** A semaphore, of this node or of another: so many may hold a lease of it at a time. */
public class Semaphore internal constructor(
    private val given: Given,
) : AutoCloseable {
    /** Its name. */
    public val name: String get() = translating { given.name() }

    /** The id of the node whose it is. */
    public val owner: String get() = translating { given.owner() }

    private fun acquiring(timeout: Double?) = translating { given.startAcquire(timeout).call() }.map(::Lease)

    /** Waits for a lease, in the order of asking. */
    @JvmSynthetic
    public suspend fun acquire(timeout: Duration? = null): Lease = acquiring(timeout.orNone()).await()

    /** The same, on the calling thread. */
    @JvmName("acquire")
    @JvmOverloads
    public fun acquireBlocking(timeout: JavaDuration? = null): Lease = acquiring(timeout.kotlin().orNone()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun acquireAsync(timeout: JavaDuration? = null): CompletableFuture<Lease> =
        acquiring(timeout.kotlin().orNone()).future()

    /** Closes it: nobody is granted anything any more. Its owner alone may. */
    override fun close(): Unit = translating { given.end() }
}

/**
 * What is held of a semaphore, until it is released, closed, or lost: it is renewed by
 * itself, and lost if its owner can't be reached for 10 s. A process that was stopped
 * meanwhile may still act as if it held it: give [token] to what it protects, which should
 * refuse a lower one than it has seen.
 */
public class Lease internal constructor(
    private val given: GivenLease,
) : AutoCloseable {
    /** Grows with every grant. */
    public val token: Long = translating { given.token() }.toLong()

    /** Whether it is not held any more. */
    @get:JvmName("isLost")
    public val lost: Boolean get() = translating { given.lost() }

    private fun losing(timeout: Double?) = translating { given.startWaitLost(timeout).call() }

    /** Waits until it is not held any more. */
    @JvmSynthetic
    public suspend fun waitLost(timeout: Duration? = null): Unit = losing(timeout.orNone()).await()

    /** The same, on the calling thread. */
    @JvmName("waitLost")
    @JvmOverloads
    public fun waitLostBlocking(timeout: JavaDuration? = null): Unit = losing(timeout.kotlin().orNone()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun waitLostAsync(timeout: JavaDuration? = null): CompletableFuture<Void?> =
        losing(timeout.kotlin().orNone()).futureOfNothing()

    /** Gives it back. It doesn't wait. */
    public fun release(): Unit = given.release()

    /** The same. */
    override fun close(): Unit = release()
}
