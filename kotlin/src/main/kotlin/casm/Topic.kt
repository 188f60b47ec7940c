package casm

import casm.ffi.Message as GivenMessage
import casm.ffi.SubscribeOptions as GivenOptions
import casm.ffi.Topic as Given
import java.time.Duration as JavaDuration
import java.util.concurrent.CompletableFuture
import kotlin.time.Duration
import kotlinx.coroutines.channels.BufferOverflow
import kotlinx.coroutines.flow.Flow

/** A message of a topic. */
public class Message(
    /** The peer id of who published it: the signature is this peer's. */
    public val source: String,
    /** Its number: no other message of this source has it. Numbers have gaps, and no sign. */
    public val seq: Long,
    /** What was published. */
    public val data: ByteArray,
) {
    override fun equals(other: Any?): Boolean =
        other is Message && other.source == source && other.seq == seq && other.data.contentEquals(data)

    override fun hashCode(): Int = 31 * source.hashCode() + seq.hashCode()

    override fun toString(): String = "Message(source=$source, seq=${seq.toULong()}, ${data.size} bytes)"

    internal companion object {
        fun of(given: GivenMessage) = Message(given.source, given.seq.toLong(), given.data)
    }
}

/** Which messages are lost when more come than somebody takes. */
public enum class Full {
    /** The oldest that wait. */
    DROP_OLDEST,

    /** Those that come. */
    DROP_NEWEST,
    ;

    internal val text get() = name.lowercase()
}

/**
 * A handle of a topic. All handles of a topic in one node share it; it is left with the
 * last of them and of their subscriptions, or with the node.
 */
public class Topic internal constructor(
    private val given: Given,
) : AutoCloseable {
    /** The topic's name, as it was given. */
    public val name: String get() = translating { given.name() }

    /** What gossip calls it: `/casm/1.0.0/<namespace>/topic/<name>`, or its exact name. */
    public val fullName: String get() = translating { given.fullName() }

    /** The ids of the connected peers that have joined the topic. */
    public fun peers(): List<String> = translating { given.peers() }

    private fun publishing(
        data: ByteArray,
        timeout: Double?,
    ) = translating { given.startPublish(data, timeout).call() }.map { it.toCount() }

    /**
     * Publishes, and says to how many peers the message was sent; they hand it on. 0 is no
     * error. Waits while the node's own queues are full, for [timeout] or 10 s at most;
     * then it fails with `TIMEOUT`, and nothing was sent. Up to 60 KiB, unless the topic
     * was made for more.
     */
    @JvmSynthetic
    public suspend fun publish(
        data: ByteArray,
        timeout: Duration? = null,
    ): Int = publishing(data, timeout?.toSeconds()).await()

    /** The same, on the calling thread. */
    @JvmName("publish")
    @JvmOverloads
    public fun publishBlocking(
        data: ByteArray,
        timeout: JavaDuration? = null,
    ): Int = publishing(data, timeout.kotlin()?.toSeconds()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun publishAsync(
        data: ByteArray,
        timeout: JavaDuration? = null,
    ): CompletableFuture<Int> = publishing(data, timeout.kotlin()?.toSeconds()).future()

    private fun waiting(
        n: Int,
        timeout: Double?,
    ) = translating { given.startWaitForPeers(n.unsigned("n"), timeout).call() }

    /** Waits until so many connected peers have joined the topic, and gives their ids. */
    @JvmSynthetic
    public suspend fun waitForPeers(
        n: Int,
        timeout: Duration? = null,
    ): List<String> = waiting(n, timeout.orNone()).await()

    /** The same, on the calling thread. */
    @JvmName("waitForPeers")
    @JvmOverloads
    public fun waitForPeersBlocking(
        n: Int,
        timeout: JavaDuration? = null,
    ): List<String> = waiting(n, timeout.kotlin().orNone()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun waitForPeersAsync(
        n: Int,
        timeout: JavaDuration? = null,
    ): CompletableFuture<List<String>> = waiting(n, timeout.kotlin().orNone()).future()

    /**
     * What comes from now on, to pull. [queue] messages may wait, 1 to 1,048,576 and 64 MiB;
     * [full] says which are lost when more come, and [echo] whether own messages come too.
     */
    @JvmOverloads
    public fun subscribe(
        queue: Int = QUEUE,
        full: Full = Full.DROP_OLDEST,
        echo: Boolean = false,
    ): Items<Message> = translating { given.subscribe(options(queue, full, echo)) }.items()

    /**
     * What comes, as a flow: each collector subscribes when it begins. Of messages that are
     * not taken in time [queue] wait, and [full] says which are lost; [buffer] and
     * [overflow] are those of the flow itself.
     */
    @JvmSynthetic
    public fun messages(
        queue: Int = QUEUE,
        full: Full = Full.DROP_OLDEST,
        echo: Boolean = false,
        buffer: Int = FLOW_BUFFER,
        overflow: BufferOverflow = BufferOverflow.SUSPEND,
    ): Flow<Message> = flowOf(buffer, overflow) { subscribe(queue, full, echo) }

    /** Tells a listener what comes from now on. */
    @JvmSynthetic
    public fun onMessage(
        queue: Int = QUEUE,
        full: Full = Full.DROP_OLDEST,
        echo: Boolean = false,
        listener: MessageListener,
    ): Subscription =
        Subscription(translating { given.onMessage(listener.given(), options(queue, full, echo)) })

    /** The same, for Java: the listener first. */
    @JvmName("onMessage")
    @JvmOverloads
    public fun onMessageForJava(
        listener: MessageListener,
        queue: Int = QUEUE,
        full: Full = Full.DROP_OLDEST,
        echo: Boolean = false,
    ): Subscription = onMessage(queue, full, echo, listener)

    /** Lets the handle go; others, and subscriptions, go on. */
    override fun close(): Unit = given.release()

    private fun options(
        queue: Int,
        full: Full,
        echo: Boolean,
    ) = GivenOptions(queue.unsigned("queue"), full.text, echo)

    public companion object {
        /** How many messages may wait if nothing is said. */
        public const val QUEUE: Int = 1024
    }
}
