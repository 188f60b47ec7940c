package casm

import casm.ffi.CallAllOptions as GivenCallAll
import casm.ffi.CallOptions as GivenCall
import java.time.Duration as JavaDuration
import java.util.concurrent.CompletableFuture
import kotlin.time.Duration
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.runInterruptible

/**
 * A member of a cluster, or an observer of one, for Java: [Node] is the same for Kotlin.
 *
 * What waits blocks the calling thread, with a time limit if one is given; an interrupt of
 * the thread calls it off, with `CANCELLED`, and the thread stays interrupted. The forms
 * whose names end in `Async` give a future instead; to cancel that calls it off.
 *
 * A node is open until it is closed, whether or not the program keeps it. One that is
 * never closed says goodbye when the program ends, for a second at most, and keeps no
 * program from ending.
 */
public class NodeJava internal constructor(
    /** The same node, for Kotlin. */
    private val node: Node,
) : Admission(node.given),
    AutoCloseable {
    /** The node's peer id. Also of a closed node. */
    public val id: String get() = node.id

    /** The cluster's name. Also of a closed node. */
    public val namespace: String get() = node.namespace

    /** Whether it is closed. */
    @get:JvmName("isClosed")
    public val closed: Boolean get() = node.closed

    /** Whether it is paused, or about to be. */
    public val isPaused: Boolean get() = node.isPaused

    /** The multiaddrs at which it can be reached, each with its `/p2p/<id>`: none while it is paused. */
    public fun addrs(): List<String> = node.addrs()

    /** Its id and its addresses. */
    public fun info(): PeerInfo = node.info()

    /** The cluster as this node sees it now. */
    public fun view(): View = node.view()

    /** The ids of the peers that are connected now, in their order. */
    public fun connected(): List<String> = node.connected()

    /** What is known of a connected peer; null if it isn't connected. */
    public fun peerStatus(peer: String): PeerStatus? = node.peerStatus(peer)

    /** Whether others can reach this node, and where. [Event.ReachabilityChanged] tells when that changes. */
    public fun reachability(): Reachability = node.reachability()

    /** The node's counters, in the OpenMetrics text format. */
    public fun metrics(): String = node.metrics()

    /** The values of the node's counters now, each by its name and labels as in the text. */
    public fun metricsSnapshot(): Map<String, Double> = node.metricsSnapshot()

    /** Waits until the view holds [n] records, the own one among them; or [n] that a query finds. */
    @JvmOverloads
    public fun waitFor(
        n: Int,
        timeout: JavaDuration? = null,
        query: Query? = null,
    ): View = node.waitingFor(n, query, timeout.kotlin()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun waitForAsync(
        n: Int,
        timeout: JavaDuration? = null,
        query: Query? = null,
    ): CompletableFuture<View> = node.waitingFor(n, query, timeout.kotlin()).future()

    /** The view of a peer, as it is there. */
    @JvmOverloads
    public fun viewOf(
        peer: String,
        timeout: JavaDuration? = null,
    ): RemoteView = node.viewing(peer, timeout.kotlin()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun viewOfAsync(
        peer: String,
        timeout: JavaDuration? = null,
    ): CompletableFuture<RemoteView> = node.viewing(peer, timeout.kotlin()).future()

    /** Connects to a peer, and says who it is: by its id, or an address. */
    @JvmOverloads
    public fun connect(
        peer: String,
        timeout: JavaDuration? = null,
    ): String = node.connecting(listOf(peer), timeout.kotlin()).block()

    /** Connects to who says this of itself. */
    @JvmOverloads
    public fun connect(
        peer: Record,
        timeout: JavaDuration? = null,
    ): String = node.connecting(peer.target(), timeout.kotlin()).block()

    /** Connects to a peer, as a future. */
    @JvmOverloads
    public fun connectAsync(
        peer: String,
        timeout: JavaDuration? = null,
    ): CompletableFuture<String> = node.connecting(listOf(peer), timeout.kotlin()).future()

    /** Connects to who says this of itself, as a future. */
    @JvmOverloads
    public fun connectAsync(
        peer: Record,
        timeout: JavaDuration? = null,
    ): CompletableFuture<String> = node.connecting(peer.target(), timeout.kotlin()).future()

    /** Opens a stream of a protocol to a peer. The time is for opening it, 10 s if none is given. */
    @JvmOverloads
    public fun openStream(
        peer: String,
        protocol: String,
        timeout: JavaDuration? = null,
    ): ByteStream = node.opening(listOf(peer), protocol, timeout.kotlin()).block()

    /** The same, to who says this of itself. */
    @JvmOverloads
    public fun openStream(
        peer: Record,
        protocol: String,
        timeout: JavaDuration? = null,
    ): ByteStream = node.opening(peer.target(), protocol, timeout.kotlin()).block()

    /** Opens a stream, as a future. */
    @JvmOverloads
    public fun openStreamAsync(
        peer: String,
        protocol: String,
        timeout: JavaDuration? = null,
    ): CompletableFuture<ByteStream> = node.opening(listOf(peer), protocol, timeout.kotlin()).future()

    /** Opens a stream to who says this of itself, as a future. */
    @JvmOverloads
    public fun openStreamAsync(
        peer: Record,
        protocol: String,
        timeout: JavaDuration? = null,
    ): CompletableFuture<ByteStream> = node.opening(peer.target(), protocol, timeout.kotlin()).future()

    /** Gives streams of a protocol that peers open to a handler, each on a thread of a pool. */
    public fun onStream(
        protocol: String,
        handler: StreamHandler,
    ): Subscription =
        node.onStream(protocol, Dispatchers.IO) { stream, peer -> runInterruptible { handler.handle(stream, peer) } }

    /** Lets others find this node under another namespace too, until [ttl] has passed. */
    @JvmOverloads
    public fun advertise(
        namespace: String,
        ttl: JavaDuration,
        timeout: JavaDuration? = null,
    ): Unit = node.advertising(namespace, ttl.kotlin()!!, timeout.kotlin()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun advertiseAsync(
        namespace: String,
        ttl: JavaDuration,
        timeout: JavaDuration? = null,
    ): CompletableFuture<Void?> = node.advertising(namespace, ttl.kotlin()!!, timeout.kotlin()).futureOfNothing()

    /** Changes what others may know of this node, and tells them. */
    @JvmOverloads
    public fun setMeta(
        meta: Map<String, String>,
        timeout: JavaDuration? = null,
    ): Unit = node.settingMeta(meta, timeout.kotlin()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun setMetaAsync(
        meta: Map<String, String>,
        timeout: JavaDuration? = null,
    ): CompletableFuture<Void?> = node.settingMeta(meta, timeout.kotlin()).futureOfNothing()

    /** Changes some of what others may know: each key gets the value, or goes if that is null. */
    @JvmOverloads
    public fun updateMeta(
        changes: Map<String, String?>,
        timeout: JavaDuration? = null,
    ): Unit = node.updatingMeta(changes, timeout.kotlin()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun updateMetaAsync(
        changes: Map<String, String?>,
        timeout: JavaDuration? = null,
    ): CompletableFuture<Void?> = node.updatingMeta(changes, timeout.kotlin()).futureOfNothing()

    /** Changes the host name that others read, and tells them. */
    @JvmOverloads
    public fun setHost(
        host: String,
        timeout: JavaDuration? = null,
    ): Unit = node.settingHost(host, timeout.kotlin()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun setHostAsync(
        host: String,
        timeout: JavaDuration? = null,
    ): CompletableFuture<Void?> = node.settingHost(host, timeout.kotlin()).futureOfNothing()

    /** Changes for how long others keep this node's record, and tells them. In a large cluster it may be longer. */
    @JvmOverloads
    public fun setTtl(
        ttl: JavaDuration,
        timeout: JavaDuration? = null,
    ): Unit = node.settingTtl(ttl.kotlin()!!, timeout.kotlin()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun setTtlAsync(
        ttl: JavaDuration,
        timeout: JavaDuration? = null,
    ): CompletableFuture<Void?> = node.settingTtl(ttl.kotlin()!!, timeout.kotlin()).futureOfNothing()

    /** What happens from now on, to pull. */
    public fun events(): Items<Event> = node.eventItems()

    /** Tells a listener what happens from now on. */
    public fun onEvent(listener: EventListener): Subscription = node.onEvent(listener)

    /** Follows a query, to pull. */
    @JvmOverloads
    public fun subscribe(query: Query = Query.all()): Items<Change> = node.changeItems(query)

    /** Tells a listener what a query finds, and every change to that. */
    public fun onChange(
        query: Query,
        listener: ChangeListener,
    ): Subscription = node.onChange(query, listener)

    /** Looks for peers, where the boot addresses say: as long as this, or until it is closed. */
    @JvmOverloads
    public fun findPeers(
        timeout: JavaDuration? = null,
        namespace: String? = null,
        limit: Int? = null,
    ): Items<PeerFound> = node.peerItems(namespace, limit, timeout.kotlin())

    /** A handle of a topic, which the node joins if it has not: see [Node.topic]. */
    @JvmOverloads
    public fun topic(
        name: String,
        exact: Boolean = false,
        maxData: Int? = null,
        accept: Query? = null,
    ): Topic = node.topic(name, exact, maxData, accept)

    /** A channel of this node: see [Node.channel]. */
    @JvmOverloads
    public fun channel(
        name: String,
        capacity: Int = 0,
        closeByOthers: Boolean = false,
    ): Channel = node.channel(name, capacity, closeByOthers)

    /** A channel of another node: see [Node.openChannel]. */
    @JvmOverloads
    public fun openChannel(
        name: String,
        peer: String? = null,
        timeout: JavaDuration? = null,
    ): Channel = node.openingChannel(name, peer, timeout.kotlin()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun openChannelAsync(
        name: String,
        peer: String? = null,
        timeout: JavaDuration? = null,
    ): CompletableFuture<Channel> = node.openingChannel(name, peer, timeout.kotlin()).future()

    /** A semaphore of this node: see [Node.semaphore]. */
    @JvmOverloads
    public fun semaphore(
        name: String,
        n: Int,
        timeout: JavaDuration? = null,
    ): Semaphore = node.makingSemaphore(name, n, timeout.kotlin()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun semaphoreAsync(
        name: String,
        n: Int,
        timeout: JavaDuration? = null,
    ): CompletableFuture<Semaphore> = node.makingSemaphore(name, n, timeout.kotlin()).future()

    /** A semaphore of another node: see [Node.openChannel]. */
    @JvmOverloads
    public fun openSemaphore(
        name: String,
        peer: String? = null,
        timeout: JavaDuration? = null,
    ): Semaphore = node.openingSemaphore(name, peer, timeout.kotlin()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun openSemaphoreAsync(
        name: String,
        peer: String? = null,
        timeout: JavaDuration? = null,
    ): CompletableFuture<Semaphore> = node.openingSemaphore(name, peer, timeout.kotlin()).future()

    /** Serves a service: see [Node.serve]. The handler runs on a thread of a pool. */
    @JvmOverloads
    public fun serve(
        name: String,
        handler: ServiceHandler,
        options: ServeOptions = ServeOptions(),
    ): Serving = serveAnswers(name, { Answer(handler.handle(it)) }, options)

    /** The same, with headers. */
    @JvmOverloads
    public fun serveAnswers(
        name: String,
        handler: AnswerHandler,
        options: ServeOptions = ServeOptions(),
    ): Serving {
        val work = handler(node.scope, Dispatchers.IO) { runInterruptible { handler.handle(it) } }
        return Serving(translating { node.given.serve(name, work, options.given()) })
    }

    /** Serves a service that answers in parts. */
    @JvmOverloads
    public fun serveStream(
        name: String,
        handler: PartsHandler,
        options: ServeOptions = ServeOptions(),
    ): Serving {
        val work =
            handler(node.scope, Dispatchers.IO) { request ->
                runInterruptible { handler.handle(request) { request.partBlocking(it) } }
                Answer(ByteArray(0))
            }
        return Serving(translating { node.given.serveStream(name, work, options.given()) })
    }

    /** Asks a member that serves this, and gives its answer: see [Node.call]. */
    @JvmOverloads
    public fun call(
        name: String,
        data: ByteArray,
        options: CallOptions = CallOptions(),
    ): Answer = node.calling(name, data, options.given()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun callAsync(
        name: String,
        data: ByteArray,
        options: CallOptions = CallOptions(),
    ): CompletableFuture<Answer> = node.calling(name, data, options.given()).future()

    /** Asks all who serve this now, and gives what they answer as it comes. */
    @JvmOverloads
    public fun callAll(
        name: String,
        data: ByteArray,
        options: CallOptions = CallOptions(),
    ): Replies =
        with(options) {
            val given =
                GivenCallAll(where?.given(), headers, timeout?.toSeconds(), limit?.unsigned("limit"))
            Replies(translating { node.given.callAll(name, data, given) })
        }

    /** Asks a member for an answer in parts, which come as they are asked for. */
    @JvmOverloads
    public fun callStream(
        name: String,
        data: ByteArray,
        options: CallOptions = CallOptions(),
    ): Items<ByteArray> = translating { node.given.callStream(name, data, options.given()) }.items()

    /** The names of the services that this node serves. */
    public fun services(): List<String> = node.services()

    /** What a service that this node serves has done so far. */
    public fun serviceStats(name: String): ServiceStats = node.serviceStats(name)

    /** Leaves the cluster for a while: see [Node.pause]. */
    @JvmOverloads
    public fun pause(timeout: JavaDuration? = null): Unit = node.pausing(timeout.kotlin()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun pauseAsync(timeout: JavaDuration? = null): CompletableFuture<Void?> =
        node.pausing(timeout.kotlin()).futureOfNothing()

    /** Comes back after a pause: see [Node.resume]. */
    @JvmOverloads
    public fun resume(timeout: JavaDuration? = null): Unit = node.resuming(timeout.kotlin()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun resumeAsync(timeout: JavaDuration? = null): CompletableFuture<Void?> =
        node.resuming(timeout.kotlin()).futureOfNothing()

    /**
     * Leaves the cluster, so that others see it at once, and waits until nothing of the
     * node is running: for the requests that its services work on [grace] at most, and for
     * the goodbye 10 s more. An interrupt doesn't end it. A second call does nothing, and
     * later calls of others fail with `CLOSED`.
     */
    public fun close(grace: JavaDuration): Unit = node.closeBlocking(grace.kotlin() ?: Node.GRACE)

    /** The same, with a grace of 5 s. It may be called from anywhere, also from inside a callback. */
    override fun close(): Unit = node.close()

    /** Leaves the cluster as [close] does, with a grace of 5 s if none is given. To cancel the future doesn't end it. */
    @JvmOverloads
    public fun closeAsync(grace: JavaDuration? = null): CompletableFuture<Void?> =
        node.closeFuture(grace.kotlin() ?: Node.GRACE)

    /** The same node, for Kotlin. */
    public fun toKotlin(): Node = node

    override fun toString(): String = node.toString()

    private fun CallOptions.given() = GivenCall(peer, where?.given(), headers, timeout?.toSeconds(), wait, idempotent)

    public companion object {
        /** Starts a node. */
        @JvmStatic
        @JvmOverloads
        public fun start(
            config: Config = Config(),
            timeout: JavaDuration? = null,
            onEvent: EventListener? = null,
        ): NodeJava = NodeJava(starting(config, timeout.kotlin(), onEvent).block())

        /** The same, as a future. */
        @JvmStatic
        @JvmOverloads
        public fun startAsync(
            config: Config = Config(),
            timeout: JavaDuration? = null,
            onEvent: EventListener? = null,
        ): CompletableFuture<NodeJava> = starting(config, timeout.kotlin(), onEvent).map(::NodeJava).future()
    }
}
