package examples

import casm.Change
import casm.Config
import casm.Node
import casm.Query
import casm.Record
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Job
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.filter
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.launch
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock

/**
 * What an Android app has between its screens and a node: who is there, as state, and
 * messages, as a flow. It follows a lifecycle: forward `onStart`, `onStop` and `onDestroy`
 * of a `DefaultLifecycleObserver` of `ProcessLifecycleOwner` to the functions of these
 * names, and give it that owner's `lifecycleScope`.
 *
 * In the background the node is paused: it has no socket, and others see it leave.
 */
class PeersRepository(
    private val scope: CoroutineScope,
    private val config: Config,
    private val query: Query = Query.all(),
) {
    private val started = CompletableDeferred<Node>()
    private val turns = Mutex()
    private val all = MutableStateFlow<Map<String, Record>>(mapOf())
    private val there = MutableStateFlow<List<Record>>(listOf())
    private var following: Job? = null

    /** Who is there now. */
    val peers: StateFlow<List<Record>> = there.asStateFlow()

    /** What others say on a topic. */
    suspend fun messages(topic: String): Flow<String> {
        val node = started.await()
        return node.topic(topic).messages().filter { it.source != node.id }.map { it.data.decodeToString() }
    }

    /** Says something on a topic. */
    suspend fun say(
        topic: String,
        text: String,
    ) {
        started.await().topic(topic).publish(text.encodeToByteArray())
    }

    /** The app is seen: the node starts, or is back. */
    fun onStart() = inTurn {
        if (started.isCompleted) {
            started.await().resume()
        } else {
            val node = Node.start(config)
            following = scope.launch { follow(node) }
            started.complete(node)
        }
    }

    /** The app is in the background. */
    fun onStop() = inTurn { if (started.isCompleted) started.await().pause() }

    /** The app is gone. */
    fun onDestroy() = inTurn {
        following?.cancelAndJoin()
        if (started.isCompleted) started.await().close()
    }

    private suspend fun follow(node: Node) =
        node.subscribe(query).collect { change ->
            val known = all.value
            all.value =
                when (change) {
                    is Change.Left -> known - change.record.peer
                    // The whole picture comes again.
                    is Change.Dropped -> mapOf()
                    else -> change.record?.let { known + (it.peer to it) } ?: known
                }
            there.value = all.value.values.sortedBy { it.peer }
        }

    /** One after the other, in their order. */
    private fun inTurn(step: suspend () -> Unit): Job = scope.launch { turns.withLock { step() } }
}
