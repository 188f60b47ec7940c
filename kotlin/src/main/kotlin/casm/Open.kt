package casm

import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import kotlin.concurrent.thread
import kotlin.time.Duration

/**
 * The nodes that are open: held, so that none leaves its cluster when the memory of what
 * nobody refers to is given back, and closed when the program ends.
 */
internal object Open {
    private val nodes = ConcurrentHashMap.newKeySet<Node>()

    /** How long the end of the program waits for goodbyes. */
    private const val AT_THE_END = 1000L

    init {
        // With the first node, and never at a mere import.
        Runtime.getRuntime().addShutdownHook(thread(start = false, name = "casm-goodbye") { goodbye() })
    }

    fun add(node: Node) {
        nodes += node
    }

    fun remove(node: Node) {
        nodes -= node
    }

    private fun goodbye() {
        val closing = nodes.toList()
        val over = CountDownLatch(closing.size)
        for (node in closing) {
            thread(isDaemon = true) {
                try {
                    // A program's end waits for no handler.
                    node.closeBlocking(Duration.ZERO)
                } catch (_: CasmException) {
                    // Others see it leave when its time is over.
                } finally {
                    over.countDown()
                }
            }
        }
        over.await(AT_THE_END, TimeUnit.MILLISECONDS)
    }
}
