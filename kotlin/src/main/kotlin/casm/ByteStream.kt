package casm

import casm.ffi.ByteStream as Given
import java.io.IOException
import java.io.InputStream
import java.io.OutputStream
import java.time.Duration as JavaDuration
import java.util.concurrent.CompletableFuture
import kotlin.time.Duration
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow

/**
 * Bytes to and from a peer, as a plain libp2p stream. One at a time may read, and one
 * write. A read that is cancelled loses nothing; a write that is, when some of its bytes
 * went out, resets the stream.
 */
public class ByteStream internal constructor(
    private val given: Given,
) : AutoCloseable {
    /** The id of the peer at the other end. */
    public val peer: String get() = translating { given.peer() }

    /** The protocol. */
    public val protocol: String get() = translating { given.protocol() }

    /** Whether it is over: closed, reset, or its node closed. */
    @get:JvmName("isClosed")
    public val closed: Boolean get() = translating { given.closed() }

    private fun reading(
        most: Int,
        timeout: Double?,
    ) = translating { given.startRead(most.unsigned("most"), timeout).call() }

    /**
     * Reads what is there, [most] bytes at most, and waits until there is something. Empty
     * at the end. After a `TIMEOUT` it can be called again: nothing is lost.
     */
    @JvmSynthetic
    public suspend fun read(
        most: Int = PIECE,
        timeout: Duration? = null,
    ): ByteArray = reading(most, timeout.orNone()).await()

    /** The same, on the calling thread. */
    @JvmName("read")
    @JvmOverloads
    public fun readBlocking(
        most: Int = PIECE,
        timeout: JavaDuration? = null,
    ): ByteArray = reading(most, timeout.kotlin().orNone()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun readAsync(
        most: Int = PIECE,
        timeout: JavaDuration? = null,
    ): CompletableFuture<ByteArray> = reading(most, timeout.kotlin().orNone()).future()

    /** What comes, in pieces of [most] bytes at most, to the end. */
    @JvmSynthetic
    public fun pieces(most: Int = PIECE): Flow<ByteArray> =
        flow {
            while (true) {
                val piece = read(most)
                if (piece.isEmpty()) break
                emit(piece)
            }
        }

    private fun writing(
        data: ByteArray,
        timeout: Double?,
    ) = translating { given.startWrite(data, timeout).call() }

    /**
     * Writes all of the bytes; waits while the peer has no room for them. If the time is
     * over when some of them went out, the stream is reset.
     */
    @JvmSynthetic
    public suspend fun write(
        data: ByteArray,
        timeout: Duration? = null,
    ): Unit = writing(data, timeout.orNone()).await()

    /** The same, on the calling thread. */
    @JvmName("write")
    @JvmOverloads
    public fun writeBlocking(
        data: ByteArray,
        timeout: JavaDuration? = null,
    ): Unit = writing(data, timeout.kotlin().orNone()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun writeAsync(
        data: ByteArray,
        timeout: JavaDuration? = null,
    ): CompletableFuture<Void?> = writing(data, timeout.kotlin().orNone()).futureOfNothing()

    private fun endingWrites(timeout: Double?) = translating { given.startCloseWrite(timeout).call() }

    /** Ends what is written: the peer reads to the end. Reading goes on. */
    @JvmSynthetic
    public suspend fun closeWrite(timeout: Duration? = null): Unit = endingWrites(timeout.orNone()).await()

    /** The same, on the calling thread. */
    @JvmName("closeWrite")
    @JvmOverloads
    public fun closeWriteBlocking(timeout: JavaDuration? = null): Unit =
        endingWrites(timeout.kotlin().orNone()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun closeWriteAsync(timeout: JavaDuration? = null): CompletableFuture<Void?> =
        endingWrites(timeout.kotlin().orNone()).futureOfNothing()

    private fun ending(timeout: Double?) = translating { given.startClose(timeout).call() }

    /** Ends what is written, waits until it is out, and reads no more. */
    @JvmSynthetic
    public suspend fun close(timeout: Duration): Unit = ending(timeout.orNone()).await()

    /** The same, on the calling thread. */
    @JvmName("close")
    public fun closeBlocking(timeout: JavaDuration): Unit = ending(timeout.kotlin().orNone()).block()

    /** The same, as a future: without a limit if none is given. */
    @JvmOverloads
    public fun closeAsync(timeout: JavaDuration? = null): CompletableFuture<Void?> =
        ending(timeout.kotlin().orNone()).futureOfNothing()

    /**
     * Ends it without waiting: what was written goes out in the background, for 10 s at
     * most, and nothing is read any more.
     */
    override fun close() {
        val ending =
            try {
                ending(IN_THE_BACKGROUND)
            } catch (_: CasmException) {
                return
            }
        // Whoever cares how it ends waits for it.
        ending.futureOfNothing().exceptionally { null }
    }

    /**
     * Ends it at once, for calls that are waiting too. To the peer it is broken, unless it
     * was closed for writing.
     */
    public fun reset(): Unit = translating { given.reset() }

    /** What comes, for what reads of `java.io`. To close it closes the stream. */
    public fun inputStream(): InputStream =
        object : InputStream() {
            private var piece = ByteArray(0)
            private var at = 0

            /** Whether there is something; false at the end. */
            private fun filled(): Boolean {
                if (at == piece.size) {
                    piece = io { readBlocking() }
                    at = 0
                }
                return piece.isNotEmpty()
            }

            override fun read(): Int = if (filled()) piece[at++].toInt() and BYTE else -1

            override fun read(
                b: ByteArray,
                off: Int,
                len: Int,
            ): Int {
                if (len == 0) return 0
                if (!filled()) return -1
                val many = minOf(len, piece.size - at)
                piece.copyInto(b, off, at, at + many)
                at += many
                return many
            }

            override fun available(): Int = piece.size - at

            override fun close() = this@ByteStream.close()
        }

    /** What is written, for what writes of `java.io`. To close it ends what is written. */
    public fun outputStream(): OutputStream =
        object : OutputStream() {
            override fun write(b: Int) = io { writeBlocking(byteArrayOf(b.toByte())) }

            override fun write(
                b: ByteArray,
                off: Int,
                len: Int,
            ) = io { writeBlocking(b.copyOfRange(off, off + len)) }

            override fun close() = io { closeWriteBlocking() }
        }

    internal companion object {
        /** Bytes of a piece if nothing is said. */
        const val PIECE = 65_536
        private const val IN_THE_BACKGROUND = 10.0
        private const val BYTE = 0xff

        private inline fun <T> io(call: () -> T): T =
            try {
                call()
            } catch (error: CasmException) {
                throw IOException(error.message, error)
            }
    }
}
