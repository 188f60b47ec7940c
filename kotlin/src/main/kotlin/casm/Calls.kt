package casm

import casm.ffi.Done
import java.util.concurrent.CompletableFuture
import java.util.concurrent.CountDownLatch
import java.util.concurrent.Executor
import java.util.concurrent.ForkJoinPool
import java.util.concurrent.atomic.AtomicBoolean
import kotlin.coroutines.resume
import kotlinx.coroutines.suspendCancellableCoroutine

// How a call of the library is waited for: by a coroutine, a thread, or a future.
// All three call it off when nobody waits any more. What arrives then was never taken
// out, and goes back by itself.

/** A call that was started: the generated classes are alike, and have no class in common. */
internal class Call<out T>(
    val whenDone: (Done) -> Unit,
    val take: () -> T,
    val callOff: () -> Unit,
    val letGo: () -> Unit,
) {
    fun <R> map(change: (T) -> R): Call<R> = Call(whenDone, { change(take()) }, callOff, letGo)
}

private fun done(then: () -> Unit) =
    object : Done {
        override fun done() = then()
    }

/** Waits as coroutines do. */
internal suspend fun <T> Call<T>.await(): T =
    try {
        suspendCancellableCoroutine { waiting ->
            waiting.invokeOnCancellation { callOff() }
            // Nothing is taken out on the library's thread: whoever is cancelled before
            // it runs again has taken nothing.
            whenDone(done { waiting.resume(Unit) })
        }
        translating(take)
    } finally {
        letGo()
    }

/** Waits on the calling thread. */
internal fun <T> Call<T>.block(): T =
    try {
        val over = CountDownLatch(1)
        whenDone(done(over::countDown))
        try {
            over.await()
        } catch (interrupted: InterruptedException) {
            callOff()
            Thread.currentThread().interrupt()
            throw CasmException(
                CasmException.Kind.CANCELLED,
                "the thread that waited was interrupted",
                interrupted,
            )
        }
        translating(take)
    } finally {
        letGo()
    }

/** Waits for nobody: the future has what comes. */
internal fun <T> Call<T>.future(): CompletableFuture<T> {
    val future = Future(this)
    // What depends on the future must not run on the library's thread.
    whenDone(done { Future.executor.execute(future::finish) })
    return future
}

/** The same of what gives nothing, as Java has it. */
internal fun Call<Unit>.futureOfNothing(): CompletableFuture<Void?> = map<Void?> { null }.future()

private class Future<T>(
    private val call: Call<T>,
) : CompletableFuture<T>() {
    /** Either the value is taken out, or the call was called off: whichever is first. */
    private val decided = AtomicBoolean()

    fun finish() {
        if (decided.compareAndSet(false, true)) {
            try {
                super.complete(translating(call.take))
            } catch (@Suppress("TooGenericExceptionCaught") error: Throwable) {
                super.completeExceptionally(error)
            }
        }
        call.letGo()
    }

    override fun cancel(mayInterruptIfRunning: Boolean): Boolean {
        val first = callOff()
        return if (first) super.cancel(mayInterruptIfRunning) else isCancelled
    }

    override fun complete(value: T): Boolean = callOff() && super.complete(value)

    /** As `orTimeout` does. */
    override fun completeExceptionally(ex: Throwable): Boolean = callOff() && super.completeExceptionally(ex)

    private fun callOff(): Boolean {
        val first = decided.compareAndSet(false, true)
        if (first) call.callOff()
        return first
    }

    companion object {
        val executor: Executor = ForkJoinPool.commonPool()
    }
}
