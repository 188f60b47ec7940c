package casm

import casm.ffi.RemoteView as GivenRemote
import casm.ffi.View as Given
import java.time.Duration as JavaDuration
import java.util.concurrent.CompletableFuture
import kotlin.time.Duration
import kotlinx.coroutines.flow.Flow

/** A snapshot of the cluster: it stays as it was. */
public class View internal constructor(
    private val given: Given,
) : Iterable<Record> {
    /** How many records it holds. */
    public val size: Int get() = given.len().toCount()

    /** Every record, in the order of the peers. */
    override fun iterator(): Iterator<Record> = iter().iterator()

    /** The records that a query finds, in its order. */
    @JvmOverloads
    public fun iter(query: Query = Query.all()): List<Record> =
        translating { given.iter(query.given()) }.map { Record.of(it) }

    /** The same, as the command line writes it: `meta:role=worker`. */
    public fun iter(query: String): List<Record> = iter(Query.matching(query))

    /** The first record that a query finds. */
    public fun lookup(query: Query): Record? = translating { given.lookup(query.given()) }?.let { Record.of(it) }

    /** How many records a query finds. */
    @JvmOverloads
    public fun count(query: Query = Query.all()): Int = translating { given.count(query.given()) }.toCount()

    /** The record of a peer. */
    public operator fun get(peer: String): Record? = translating { given.get(peer) }?.let { Record.of(it) }
}

/**
 * The view of another node, as it is there: each query is answered by that node when it is
 * asked.
 */
public class RemoteView internal constructor(
    private val given: GivenRemote,
) : AutoCloseable {
    /** The id of the node whose view it is. */
    public val peer: String get() = translating { given.peer() }

    /** The records that a query finds, to pull as they come. */
    @JvmOverloads
    public fun iter(query: Query = Query.all()): Items<Record> = translating { given.iter(query.given()) }.items()

    /** The records that a query finds, as they come. */
    @JvmSynthetic
    public fun records(query: Query = Query.all()): Flow<Record> = flowOf { iter(query) }

    private fun lookingUp(
        query: Query,
        timeout: Double?,
    ) = translating { given.startLookup(query.given(), timeout).call() }.map { it?.let { found -> Record.of(found) } }

    /** The first record that a query finds. */
    @JvmSynthetic
    public suspend fun lookup(
        query: Query,
        timeout: Duration? = null,
    ): Record? = lookingUp(query, timeout.orNone()).await()

    /** The same, on the calling thread. */
    @JvmName("lookup")
    @JvmOverloads
    public fun lookupBlocking(
        query: Query,
        timeout: JavaDuration? = null,
    ): Record? = lookingUp(query, timeout.kotlin().orNone()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun lookupAsync(
        query: Query,
        timeout: JavaDuration? = null,
    ): CompletableFuture<Record?> = lookingUp(query, timeout.kotlin().orNone()).future()

    private fun counting(
        query: Query,
        timeout: Double?,
    ) = translating { given.startCount(query.given(), timeout).call() }.map { it.toCount() }

    /** How many records a query finds. */
    @JvmSynthetic
    public suspend fun count(
        query: Query = Query.all(),
        timeout: Duration? = null,
    ): Int = counting(query, timeout.orNone()).await()

    /** The same, on the calling thread. */
    @JvmName("count")
    @JvmOverloads
    public fun countBlocking(
        query: Query = Query.all(),
        timeout: JavaDuration? = null,
    ): Int = counting(query, timeout.kotlin().orNone()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun countAsync(
        query: Query = Query.all(),
        timeout: JavaDuration? = null,
    ): CompletableFuture<Int> = counting(query, timeout.kotlin().orNone()).future()

    private fun getting(
        peer: String,
        timeout: Double?,
    ) = translating { given.startGet(peer, timeout).call() }.map { it?.let { found -> Record.of(found) } }

    /** The record of a peer. */
    @JvmSynthetic
    public suspend fun get(
        peer: String,
        timeout: Duration? = null,
    ): Record? = getting(peer, timeout.orNone()).await()

    /** The same, on the calling thread. */
    @JvmName("get")
    @JvmOverloads
    public fun getBlocking(
        peer: String,
        timeout: JavaDuration? = null,
    ): Record? = getting(peer, timeout.kotlin().orNone()).block()

    /** The same, as a future. */
    @JvmOverloads
    public fun getAsync(
        peer: String,
        timeout: JavaDuration? = null,
    ): CompletableFuture<Record?> = getting(peer, timeout.kotlin().orNone()).future()

    /** Lets go of it. Doesn't wait. */
    override fun close(): Unit = given.destroy()
}
