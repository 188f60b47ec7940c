package casm

import casm.ffi.CallAllOptions
import casm.ffi.CallOptions as GivenCall
import casm.ffi.FindOptions
import casm.ffi.Node as Given
import casm.ffi.ServeOptions as GivenServe
import casm.ffi.TopicOptions
import java.util.concurrent.CompletableFuture
import kotlin.coroutines.CoroutineContext
import kotlin.coroutines.EmptyCoroutineContext
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancel
import kotlinx.coroutines.channels.BufferOverflow
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.withContext

/**
 * A member of a cluster, or an observer of one. From Java, [NodeJava] is it.
 *
 * What waits is a `suspend` function: cancelled, it ends the call underneath. `timeout` is
 * for as long as it may take, and there is no limit if none is given, unless it says so;
 * when it is over, the call fails with `TIMEOUT`.
 *
 * A node is open until it is closed, whether or not the program keeps it. One that is
 * never closed says goodbye when the program ends, for a second at most, and keeps no
 * program from ending.
 */
public class Node private constructor(
    given: Given,
) : Admission(given),
    AutoCloseable {
    internal val scope: CoroutineScope = CoroutineScope(SupervisorJob() + Dispatchers.Default)

    /** The node's peer id. Also of a closed node. */
    public val id: String = given.id()

    /** The cluster's name. Also of a closed node. */
    public val namespace: String = given.namespace()

    /** Whether it is closed. */
    @get:JvmName("isClosed")
    public val closed: Boolean get() = given.closed()

    /** Whether it is paused, or about to be. */
    public val isPaused: Boolean get() = translating { given.isPaused() }

    /** The multiaddrs at which it can be reached, each with its `/p2p/<id>`: none while it is paused. */
    public fun addrs(): List<String> = translating { given.addrs() }

    /** Its id and its addresses. */
    public fun info(): PeerInfo = PeerInfo.of(translating { given.info() })

    /** The cluster as this node sees it now. */
    public fun view(): View = View(translating { given.view() })

    /** The ids of the peers that are connected now, in their order. */
    public fun connected(): List<String> = translating { given.connected() }

    /** What is known of a connected peer; null if it isn't connected. */
    public fun peerStatus(peer: String): PeerStatus? =
        translating { given.peerStatus(peer) }?.let { PeerStatus.of(it) }

    /** Whether others can reach this node, and where. [Event.ReachabilityChanged] tells when that changes. */
    public fun reachability(): Reachability = Reachability.of(translating { given.reachability() })

    /** The node's counters, in the OpenMetrics text format. */
    public fun metrics(): String = translating { given.metrics() }

    /** The values of the node's counters now, each by its name and labels as in the text. */
    public fun metricsSnapshot(): Map<String, Double> = translating { given.metricsSnapshot() }

    /**
     * Waits until the view holds [n] records, the own one among them; or [n] that a query
     * finds.
     */
    public suspend fun waitFor(
        n: Int,
        query: Query? = null,
        timeout: Duration? = null,
    ): View = waitingFor(n, query, timeout).await()

    /** The view of a peer, as it is there. Connects to it as [connect] does, by its id or an address. */
    public suspend fun viewOf(
        peer: String,
        timeout: Duration? = null,
    ): RemoteView = viewing(peer, timeout).await()

    /**
     * Connects to a peer, and says who it is: to whoever answers at an address, to an id,
     * wherever its record or peer exchange says that it is, or to an id and its addresses.
     */
    public suspend fun connect(
        vararg peer: String,
        timeout: Duration? = null,
    ): String = connecting(peer.toList(), timeout).await()

    /** Connects to who says this of itself. */
    public suspend fun connect(
        peer: Record,
        timeout: Duration? = null,
    ): String = connecting(peer.target(), timeout).await()

    /**
     * Opens a stream of a protocol to a peer, an id or an address, to which it connects as
     * [connect] does. The protocol is a libp2p protocol id of the program's own, such as
     * `/files/1`. [timeout] is for opening it, 10 s if it is left out.
     */
    public suspend fun openStream(
        peer: String,
        protocol: String,
        timeout: Duration? = null,
    ): ByteStream = opening(listOf(peer), protocol, timeout).await()

    /** Opens a stream to who says this of itself. */
    public suspend fun openStream(
        peer: Record,
        protocol: String,
        timeout: Duration? = null,
    ): ByteStream = opening(peer.target(), protocol, timeout).await()

    /**
     * Gives streams of a protocol that peers open to a handler, each in a coroutine of its
     * own. A stream is closed when its handler returns, and reset if that throws.
     */
    public fun onStream(
        protocol: String,
        context: CoroutineContext = EmptyCoroutineContext,
        handler: suspend (stream: ByteStream, peer: String) -> Unit,
    ): Subscription =
        Subscription(translating { given.onStream(protocol, streamListener(scope, context, handler)) })

    /** Lets others find this node under another namespace too, until [ttl] has passed. */
    public suspend fun advertise(
        namespace: String,
        ttl: Duration,
        timeout: Duration? = null,
    ): Unit = advertising(namespace, ttl, timeout).await()

    /** Changes what others may know of this node, and tells them. */
    public suspend fun setMeta(
        meta: Map<String, String>,
        timeout: Duration? = null,
    ): Unit = settingMeta(meta, timeout).await()

    /**
     * Changes some of what others may know of this node, and tells them: each key gets the
     * value, or goes if that is null. No other change comes between.
     */
    public suspend fun updateMeta(
        changes: Map<String, String?>,
        timeout: Duration? = null,
    ): Unit = updatingMeta(changes, timeout).await()

    /** Changes the host name that others read, and tells them. */
    public suspend fun setHost(
        host: String,
        timeout: Duration? = null,
    ): Unit = settingHost(host, timeout).await()

    /** Changes for how long others keep this node's record, and tells them. In a large cluster it may be longer. */
    public suspend fun setTtl(
        ttl: Duration,
        timeout: Duration? = null,
    ): Unit = settingTtl(ttl, timeout).await()

    /** What happens from now on, to pull. */
    @JvmName("events")
    public fun eventItems(): Items<Event> = translating { given.events() }.items()

    /**
     * What happens, as a flow: from when it is collected until the node is closed. The
     * library keeps 4096 events for a slow collector; then the oldest are dropped, and
     * [Event.Dropped] tells how many. [buffer] and [overflow] are those of the flow itself.
     */
    @JvmSynthetic
    public fun events(
        buffer: Int = FLOW_BUFFER,
        overflow: BufferOverflow = BufferOverflow.SUSPEND,
    ): Flow<Event> = flowOf(buffer, overflow) { eventItems() }

    /** Tells a listener what happens from now on. */
    public fun onEvent(listener: EventListener): Subscription =
        Subscription(translating { given.onEvent(listener.given()) })

    /** Follows a query, to pull. */
    @JvmName("subscribe")
    public fun changeItems(query: Query = Query.all()): Items<Change> =
        translating { given.subscribe(query.given()) }.items()

    /**
     * Follows a query, as a flow: what it finds when it is collected, then every change to
     * that, until the node is closed. Of a slow collector the library drops the oldest, and
     * begins again with the whole picture. [buffer] and [overflow] are those of the flow
     * itself; whatever that drops is not told.
     */
    @JvmSynthetic
    public fun subscribe(
        query: Query = Query.all(),
        buffer: Int = FLOW_BUFFER,
        overflow: BufferOverflow = BufferOverflow.SUSPEND,
    ): Flow<Change> = flowOf(buffer, overflow) { changeItems(query) }

    /** Tells a listener what a query finds, and every change to that. */
    public fun onChange(
        query: Query = Query.all(),
        listener: ChangeListener,
    ): Subscription = Subscription(translating { given.onChange(query.given(), listener.given()) })

    /** Looks for peers, where the boot addresses say, to pull. */
    @JvmName("findPeers")
    public fun peerItems(
        namespace: String? = null,
        limit: Int? = null,
        timeout: Duration? = null,
    ): Items<PeerFound> =
        translating { given.findPeers(FindOptions(namespace, limit?.unsigned("limit"), timeout.orNone())) }.items()

    /** Looks for peers, where the boot addresses say, as a flow. */
    @JvmSynthetic
    public fun findPeers(
        namespace: String? = null,
        limit: Int? = null,
        timeout: Duration? = null,
        buffer: Int = FLOW_BUFFER,
        overflow: BufferOverflow = BufferOverflow.SUSPEND,
    ): Flow<PeerFound> = flowOf(buffer, overflow) { peerItems(namespace, limit, timeout) }

    /**
     * A handle of a topic, which the node joins if it has not. The name is 1 to 48 of
     * `A-Z a-z 0-9 . _ -`, or with [exact] as it is, for topics of other libp2p programs.
     * Messages have up to [maxData] bytes, 61,440 if nothing is said and 1,024,000 at most;
     * those of whose record [accept] finds alone are taken: give all members the same.
     */
    public fun topic(
        name: String,
        exact: Boolean = false,
        maxData: Int? = null,
        accept: Query? = null,
    ): Topic =
        Topic(translating { given.topic(name, TopicOptions(exact, maxData?.unsigned("max_data"), accept?.given())) })

    /**
     * A channel of this node, which others open by its name: one that is here and open, or
     * a new one. [capacity] values may wait in it; with 0, each is handed from sender to
     * receiver. Others may close it only if it is said.
     */
    public fun channel(
        name: String,
        capacity: Int = 0,
        closeByOthers: Boolean = false,
    ): Channel = Channel(translating { given.channel(name, capacity.unsigned("capacity"), closeByOthers) })

    /**
     * A channel of another node, by its name there: of the one member in whose record it
     * stands, if no peer, an id or a multiaddr, is given. [timeout] is 10 s if it is left out.
     */
    public suspend fun openChannel(
        name: String,
        peer: String? = null,
        timeout: Duration? = null,
    ): Channel = openingChannel(name, peer, timeout).await()

    /**
     * A semaphore of this node, of which [n] leases are given at a time; others open it by
     * its name. One that is here and open, or a new one.
     */
    public suspend fun semaphore(
        name: String,
        n: Int,
        timeout: Duration? = null,
    ): Semaphore = makingSemaphore(name, n, timeout).await()

    /** A semaphore of another node, as [openChannel] opens a channel. */
    public suspend fun openSemaphore(
        name: String,
        peer: String? = null,
        timeout: Duration? = null,
    ): Semaphore = openingSemaphore(name, peer, timeout).await()

    /**
     * Serves a service: the handler gives the answer, up to 1 MiB. Each request has a
     * coroutine, in [context] if one is given and else on `Dispatchers.Default`, which is
     * cancelled when nobody waits for the answer any more. What the handler throws is told
     * to who asked, without its stack.
     *
     * The record says [version] beside the name, unless it is not to be [listed]; more than
     * [maxInflight] requests at once are sent on to others. With [allow] it is only for this
     * node and for callers of whose certificate one of these roles is; without certificates
     * there are no such callers.
     */
    public fun serve(
        name: String,
        version: String? = null,
        maxInflight: Int? = null,
        listed: Boolean = true,
        allow: List<String> = listOf(),
        context: CoroutineContext = EmptyCoroutineContext,
        handler: suspend (Request) -> ByteArray,
    ): Serving = serveAnswers(name, version, maxInflight, listed, allow, context) { Answer(handler(it)) }

    /** The same, with headers. */
    public fun serveAnswers(
        name: String,
        version: String? = null,
        maxInflight: Int? = null,
        listed: Boolean = true,
        allow: List<String> = listOf(),
        context: CoroutineContext = EmptyCoroutineContext,
        handler: suspend (Request) -> Answer,
    ): Serving {
        val options = GivenServe(version, maxInflight?.unsigned("max_inflight"), listed, allow)
        return Serving(translating { given.serve(name, handler(scope, context, handler), options) })
    }

    /** Serves a service that answers in parts, of up to 64 KiB: those of the flow. */
    public fun serveStream(
        name: String,
        version: String? = null,
        maxInflight: Int? = null,
        listed: Boolean = true,
        allow: List<String> = listOf(),
        context: CoroutineContext = EmptyCoroutineContext,
        handler: (Request) -> Flow<ByteArray>,
    ): Serving {
        val options = GivenServe(version, maxInflight?.unsigned("max_inflight"), listed, allow)
        val parts =
            handler(scope, context) { request ->
                handler(request).collect { request.part(it) }
                Answer(ByteArray(0))
            }
        return Serving(translating { given.serveStream(name, parts, options) })
    }

    /**
     * Asks a member that serves this, and gives its answer. [peer], an id or a multiaddr,
     * is asked and nobody else; of [where] alone others are. [timeout] is 10 s if it is
     * left out. `NOT_FOUND` if nobody serves it, unless it is to [wait]. It is asked for
     * twice only if it is [idempotent].
     */
    public suspend fun call(
        name: String,
        data: ByteArray = ByteArray(0),
        peer: String? = null,
        where: Query? = null,
        headers: Map<String, String> = mapOf(),
        timeout: Duration? = null,
        wait: Boolean = false,
        idempotent: Boolean = false,
    ): Answer {
        val options = GivenCall(peer, where?.given(), headers, timeout?.toSeconds(), wait, idempotent)
        return calling(name, data, options).await()
    }

    /**
     * Asks all who serve this now, and gives what they answer as it comes, [limit] replies
     * at most. [timeout] is 10 s if it is left out.
     */
    @JvmSynthetic
    public fun callAll(
        name: String,
        data: ByteArray = ByteArray(0),
        where: Query? = null,
        headers: Map<String, String> = mapOf(),
        timeout: Duration? = null,
        limit: Int? = null,
    ): Flow<PeerReply> = flowOf { replies(name, data, where, headers, timeout, limit) }

    /** The same, to pull, which also tells why it is over. */
    public fun replies(
        name: String,
        data: ByteArray = ByteArray(0),
        where: Query? = null,
        headers: Map<String, String> = mapOf(),
        timeout: Duration? = null,
        limit: Int? = null,
    ): Replies {
        val options = CallAllOptions(where?.given(), headers, timeout?.toSeconds(), limit?.unsigned("limit"))
        return Replies(translating { given.callAll(name, data, options) })
    }

    /**
     * Asks a member for an answer in parts, which come as they are asked for. There is no
     * limit on the time if none is given. It is called off when the flow is cancelled.
     */
    @JvmSynthetic
    public fun callStream(
        name: String,
        data: ByteArray = ByteArray(0),
        peer: String? = null,
        where: Query? = null,
        headers: Map<String, String> = mapOf(),
        timeout: Duration? = null,
        wait: Boolean = false,
        idempotent: Boolean = false,
    ): Flow<ByteArray> {
        val options = GivenCall(peer, where?.given(), headers, timeout?.toSeconds(), wait, idempotent)
        return flowOf { translating { given.callStream(name, data, options) }.items() }
    }

    /** The names of the services that this node serves. */
    public fun services(): List<String> = translating { given.services() }

    /** What a service that this node serves has done so far. */
    public fun serviceStats(name: String): ServiceStats = ServiceStats.of(translating { given.serviceStats(name) })

    /**
     * Leaves the cluster for a while, so that others see it at once, and lets every
     * connection and socket go: for an app that goes to the background. The node keeps its
     * key, its view, the peers it knows, what it tells of itself, and every subscription;
     * what needs the network fails with `PAUSED`. A second call does nothing.
     */
    public suspend fun pause(timeout: Duration? = null): Unit = pausing(timeout).await()

    /**
     * Comes back after a pause: listens, connects to who was connected, and announces
     * itself. Subscriptions are told what has changed meanwhile.
     */
    public suspend fun resume(timeout: Duration? = null): Unit = resuming(timeout).await()

    /**
     * Leaves the cluster, so that others see it at once, and waits until nothing of the
     * node is running: for the requests that its services work on [grace] at most, and for
     * the goodbye 10 s more. It is not cancelled. A second call does nothing, and later
     * calls of others fail with `CLOSED`. A handler that closes its node is not waited for.
     */
    public suspend fun close(grace: Duration) {
        val handling = currentCoroutineContext()[Handling] != null
        withContext(NonCancellable) {
            bounded { closing(grace, handling).await() }
        }
        over()
    }

    /**
     * The same, on the calling thread, with a grace of 5 s: for `use`. It may be called
     * from anywhere, also from inside a callback.
     */
    override fun close() {
        closeBlocking(GRACE)
    }

    internal fun closeBlocking(grace: Duration) {
        val interrupted = Thread.interrupted()
        try {
            // Not by way of a future, which a thread that is interrupted would call off.
            bounded { translating { given.leave(bound(grace), grace.toSeconds()) } }
        } finally {
            if (interrupted) Thread.currentThread().interrupt()
        }
        over()
    }

    /** A future that nobody can call off: to cancel what this gives cancels nothing else. */
    internal fun closeFuture(grace: Duration): CompletableFuture<Void?> =
        closing(grace, false).futureOfNothing().handle { _, failure ->
            bounded { if (failure != null) throw failure }
            over()
            null
        }

    override fun toString(): String = "Node($id)"

    private fun over() {
        Open.remove(this)
        scope.cancel("the node was closed")
    }

    public companion object {
        /**
         * Starts a node. [onEvent] is told what happens to it from the first event on,
         * until it is closed.
         */
        public suspend fun start(
            config: Config = Config(),
            timeout: Duration? = null,
            onEvent: EventListener? = null,
        ): Node = starting(config, timeout, onEvent).await()

        internal val GRACE = 5.seconds
        private val GOODBYE = 10.seconds

        internal fun bound(grace: Duration) = (grace + GOODBYE).orNone()

        /** The time for a goodbye may be over: then others see it later. */
        private inline fun bounded(close: () -> Unit) {
            try {
                close()
            } catch (error: CasmException) {
                if (error.kind != CasmException.Kind.TIMEOUT) throw error
            }
        }

        internal fun of(given: Given) = Node(given).also(Open::add)
    }
}
