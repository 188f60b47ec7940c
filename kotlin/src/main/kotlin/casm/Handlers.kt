package casm

import casm.ffi.Done
import casm.ffi.Request as GivenRequest
import casm.ffi.ServiceHandler as GivenHandler
import casm.ffi.StreamListener as GivenStreamListener
import java.util.logging.Level
import java.util.logging.Logger
import kotlin.coroutines.CoroutineContext
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.launch

// What a node calls in coroutines of their own: the thread of the library that tells of a
// request or a stream only starts them.

private val LOG = Logger.getLogger("casm")

/** Answers each request in a coroutine, which is cancelled when nobody waits for it. */
internal fun handler(
    scope: CoroutineScope,
    context: CoroutineContext,
    work: suspend (Request) -> Answer,
) = object : GivenHandler {
    override fun onRequest(request: GivenRequest) {
        val job = scope.launch(context + Handling, CoroutineStart.LAZY) { answer(request, work) }
        // One that never ran lets go of the request, too: it fails.
        job.invokeOnCompletion { request.destroy() }
        request.onCancel(
            object : Done {
                override fun done() = job.cancel()
            },
        )
        job.start()
    }
}

private suspend fun answer(
    request: GivenRequest,
    work: suspend (Request) -> Answer,
) {
    try {
        val answer = work(Request(request))
        request.answer(answer.data, answer.headers)
    } catch (cancelled: CancellationException) {
        request.fail(cancelled.message ?: "the handler was cancelled")
        throw cancelled
    } catch (@Suppress("TooGenericExceptionCaught") error: Throwable) {
        // Of an `Error` as well: who asked must not wait for what will not come.
        request.fail(error.message ?: error.toString())
    }
}

/** Gives each stream to a coroutine: it is closed at its end, and reset if it throws. */
internal fun streamListener(
    scope: CoroutineScope,
    context: CoroutineContext,
    work: suspend (ByteStream, String) -> Unit,
) = object : GivenStreamListener {
    override fun onStream(
        stream: casm.ffi.ByteStream,
        peer: String,
    ) {
        val ours = ByteStream(stream)
        val job =
            scope.launch(context) {
                try {
                    work(ours, peer)
                    ours.close()
                } catch (cancelled: CancellationException) {
                    throw cancelled
                } catch (@Suppress("TooGenericExceptionCaught") error: Throwable) {
                    ours.reset()
                    // That a peer goes is nothing unusual.
                    val level = if (error is CasmException) Level.FINE else Level.WARNING
                    LOG.log(level, "a handler of streams failed; its stream is reset", error)
                }
            }
        job.invokeOnCompletion { if (it is CancellationException) ours.reset() }
    }
}

/** In the context of what works on a request: a close from there doesn't wait for it. */
internal object Handling : CoroutineContext.Element, CoroutineContext.Key<Handling> {
    override val key: CoroutineContext.Key<*> get() = this
}
