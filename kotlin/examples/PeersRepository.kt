package examples

import casm.CasmException
import casm.Change
import casm.Config
import casm.Node
import casm.Query
import casm.Record
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.SupervisorJob
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
 * What an Android app has between its screens and a node: who is there and what went
 * wrong, as state, and messages, as a flow. It follows a lifecycle: make one in
 * `Application.onCreate`, and forward `onStart` and `onStop` of a
 * `DefaultLifecycleObserver`, added to `ProcessLifecycleOwner.get().lifecycle`, to the
 * functions of these names. That owner never says `onDestroy`: the repository stays as
 * long as the process. Of an owner that ends sooner, such as an activity, forward
 * `onDestroy` too.
 *
 * In the background the node is paused: it has no socket, and others see it leave.
 */
class PeersRepository(
    private val config: Config,
    private val query: Query = Query.all(),
) {
    /** Its own: a `lifecycleScope` is cancelled when it is destroyed, before the goodbye is said. */
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private val started = CompletableDeferred<Node>()
    private val turns = Mutex()
    private val all = MutableStateFlow<Map<String, Record>>(mapOf())
    private val there = MutableStateFlow<List<Record>>(listOf())
    private val wrong = MutableStateFlow<String?>(null)
    private var following: Job? = null

    /** Who is there now. */
    val peers: StateFlow<List<Record>> = there.asStateFlow()

    /** What went wrong last, to show; null when the last step worked. */
    val problem: StateFlow<String?> = wrong.asStateFlow()

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
            following = scope.launch { showing { follow(node) } }
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
    private fun inTurn(step: suspend () -> Unit): Job =
        scope.launch {
            turns.withLock {
                showing {
                    step()
                    wrong.value = null
                }
            }
        }

    /** What fails is shown, and ends nothing else: the next step tries again. */
    private suspend fun showing(step: suspend () -> Unit) {
        try {
            step()
        } catch (error: CasmException) {
            wrong.value = error.message
        }
    }
}
