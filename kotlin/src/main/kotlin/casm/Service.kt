package casm

import casm.ffi.Answer as GivenAnswer
import casm.ffi.PeerReply as GivenReply
import casm.ffi.Request as Given
import casm.ffi.ServeOptions as GivenServe
import casm.ffi.ServiceStats as GivenStats
import casm.ffi.Serving as GivenServing
import java.time.Duration as JavaDuration
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds

/** What a service answers: bytes, and what comes along with them. */
public class Answer
    @JvmOverloads
    constructor(
        /** The answer. */
        public val data: ByteArray,
        /** What comes along with it: at most 16, with 4 KiB in all. */
        public val headers: Map<String, String> = mapOf(),
        /** The id of who answered; empty in one that a handler makes. */
        public val peer: String = "",
    ) {
        override fun equals(other: Any?): Boolean =
            other is Answer && other.data.contentEquals(data) && other.headers == headers && other.peer == peer

        override fun hashCode(): Int = 31 * data.contentHashCode() + headers.hashCode()

        override fun toString(): String = "Answer(${data.size} bytes, headers=$headers, peer=$peer)"

        internal companion object {
            fun of(given: GivenAnswer) = Answer(given.data, given.headers, given.peer)
        }
    }

/** What one of those that were asked said: [data] or [error] is there. */
public class PeerReply internal constructor(
    /** The id of who was asked. */
    public val peer: String,
    /** Its answer. */
    public val data: ByteArray?,
    /** What came along with the answer. */
    public val headers: Map<String, String>,
    /** Why there is no answer. */
    public val error: CasmException?,
) {
    override fun toString(): String = "PeerReply(peer=$peer, ${error ?: "${data?.size} bytes"})"

    internal companion object {
        fun of(given: GivenReply): PeerReply {
            val error =
                given.error?.let { CasmException(CasmException.Kind.named(given.errorKind ?: "Internal"), it) }
            return PeerReply(given.peer, given.data, given.headers, error)
        }
    }
}

/** A request. The coroutine or thread that works on it is cancelled with it. */
public class Request internal constructor(
    internal val given: Given,
) {
    /** What was asked. */
    public val data: ByteArray by lazy { translating { given.data() } }

    /** What came along with it. */
    public val headers: Map<String, String> by lazy { translating { given.headers() } }

    /** The id of who asks. */
    public val peer: String = translating { given.peer() }

    /** For how long the answer is still waited for; null if there is no limit. */
    @get:JvmSynthetic
    public val timeLeft: Duration? get() = translating { given.timeLeft() }?.asSeconds()

    /** [timeLeft], for Java. */
    @JvmName("getTimeLeft")
    public fun timeLeftForJava(): JavaDuration? = timeLeft?.java()

    /** Whether nobody waits for the answer any more. */
    @get:JvmName("isCancelled")
    public val cancelled: Boolean get() = given.uniffiIsDestroyed || translating { given.cancelled() }

    internal suspend fun part(data: ByteArray) = translating { given.startPart(data, null).call() }.await()

    internal fun partBlocking(data: ByteArray) = translating { given.startPart(data, null).call() }.block()
}

/** A service that is served, until it is stopped or its node is closed, also if nobody holds this. */
public class Serving internal constructor(
    private val given: GivenServing,
) : AutoCloseable {
    /** The service's name. */
    public val name: String get() = given.name()

    /** Serves it no more. Requests that have come are answered. */
    public fun stop(): Unit = given.stop()

    /** The same. */
    override fun close(): Unit = stop()
}

/** What a service that is served here has done so far. */
public data class ServiceStats(
    /** Requests that a handler has worked on, or works on. */
    val calls: Long,
    /** Requests without an answer, by kind. */
    val failures: Map<String, Long>,
    /** Requests that are being worked on. */
    val inFlight: Int,
    /** How long handlers took, all together. */
    @get:JvmSynthetic val time: Duration,
) {
    /** [time], for Java. */
    @JvmName("getTime")
    public fun timeForJava(): JavaDuration = time.java()

    internal companion object {
        fun of(given: GivenStats) =
            ServiceStats(
                given.calls.toLong(),
                given.failures.mapValues { it.value.toLong() },
                given.inFlight.toCount(),
                given.seconds.seconds,
            )
    }
}

/** How a service is served, from Java. */
public class ServeOptions {
    internal var version: String? = null
    internal var maxInflight: Int? = null
    internal var listed = true
    internal var allow = listOf<String>()

    /** What the record says of it, beside its name; `1` if nothing is said. */
    public fun version(version: String): ServeOptions = apply { this.version = version }

    /** Requests that are worked on at once, 64 if nothing is said; more are sent on to others. */
    public fun maxInflight(most: Int): ServeOptions = apply { maxInflight = most }

    /** Whether the node's record says that it is served; it does if nothing is said. */
    public fun listed(listed: Boolean): ServeOptions = apply { this.listed = listed }

    /** Roles of which a caller must have one in its certificate; everybody may call if nothing is said. */
    public fun allow(vararg roles: String): ServeOptions = apply { allow = roles.toList() }

    internal fun given() = GivenServe(version, maxInflight?.unsigned("max_inflight"), listed, allow)
}

/** Whom to ask, and how, from Java. */
public class CallOptions {
    internal var peer: String? = null
    internal var where: Query? = null
    internal var headers: Map<String, String> = mapOf()
    internal var timeout: Duration? = null
    internal var wait = false
    internal var idempotent = false
    internal var limit: Int? = null

    /** Whom to ask, and nobody else: an id, or a multiaddr. Not for `callAll`. */
    public fun peer(peer: String): CallOptions = apply { this.peer = peer }

    /** Which members may be asked. */
    public fun where(query: Query): CallOptions = apply { where = query }

    /** What goes along with the request, one more: at most 16, with 4 KiB in all. */
    public fun header(
        key: String,
        value: String,
    ): CallOptions = apply { headers = headers + (key to value) }

    /** How long to wait at most: 10 s if nothing is said, and no limit for parts. */
    public fun timeout(time: JavaDuration): CallOptions = apply { timeout = time.kotlin() }

    /** Waits without a limit. */
    public fun noTimeout(): CallOptions = apply { timeout = Duration.INFINITE }

    /** Waits until somebody serves it. Not for `callAll`. */
    public fun waitForServer(): CallOptions = apply { wait = true }

    /** It may be worked on twice. Not for `callAll`. */
    public fun idempotent(): CallOptions = apply { idempotent = true }

    /** The most replies. Only for `callAll`. */
    public fun limit(most: Int): CallOptions = apply { limit = most }
}

/** Answers requests, from Java: each on a thread of a pool, which is interrupted if nobody waits any more. */
public fun interface ServiceHandler {
    /** Gives the answer. What it throws is told to who asked, without its stack. */
    @Throws(Exception::class)
    public fun handle(request: Request): ByteArray
}

/** As a [ServiceHandler], with headers. */
public fun interface AnswerHandler {
    /** Gives the answer. */
    @Throws(Exception::class)
    public fun handle(request: Request): Answer
}

/** Answers requests in parts, from Java, as a [ServiceHandler] does. */
public fun interface PartsHandler {
    /** Gives the parts, one after the other. */
    @Throws(Exception::class)
    public fun handle(
        request: Request,
        parts: Parts,
    )
}

/** Takes the parts of an answer. */
public fun interface Parts {
    /** Sends a part, up to 64 KiB, and waits until there is room for the next. */
    public fun send(part: ByteArray)
}

/** Is given streams that peers open, from Java: each on a thread of a pool. */
public fun interface StreamHandler {
    /** A peer has opened a stream. It is closed when this returns, and reset if it throws. */
    @Throws(Exception::class)
    public fun handle(
        stream: ByteStream,
        peer: String,
    )
}
