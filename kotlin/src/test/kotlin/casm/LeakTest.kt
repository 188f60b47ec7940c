package casm

import java.io.File
import kotlin.test.assertTrue
import kotlinx.coroutines.flow.first
import org.junit.jupiter.api.Assumptions.assumeTrue
import org.junit.jupiter.api.Test

class LeakTest {
    private class Counts {
        val threads = entries("task")
        val descriptors = entries("fd")
        val kilobytes: Long

        init {
            // What only waits to be collected is no leak.
            repeat(4) {
                System.gc()
                Thread.sleep(50)
            }
            val runtime = Runtime.getRuntime()
            kilobytes = rss() - (runtime.totalMemory() / 1024)
        }

        private fun entries(of: String) = File("/proc/self/$of").list()!!.size

        private fun rss() =
            File("/proc/self/status").readLines().first { it.startsWith("VmRSS") }.filter(Char::isDigit).toLong()

        override fun toString() = "$threads threads, $descriptors descriptors, $kilobytes kB beside the heap"
    }

    private fun rounds(many: Int) =
        repeat(many) {
            patiently {
                val node = start()
                node.onEvent { }
                node.onChange { }
                node.serve("s") { it.data }
                node.call("s")
                val channel = node.channel("c", 1)
                channel.send(ByteArray(1000))
                channel.recv()
                node.topic("t").subscribe().close()
                node.subscribe().first()
                node.close()
            }
        }

    @Test
    fun `200 nodes that are opened and closed leave no threads, descriptors or memory behind`() {
        assumeTrue(File("/proc/self/task").exists(), "this system does not tell")
        rounds(50)
        // A leak grows each time; what the JVM compiles and keeps grows at first.
        val grown = mutableListOf<Long>()
        do {
            val before = Counts()
            rounds(200)
            until("threads and descriptors are back: $before") {
                val now = Counts()
                now.threads <= before.threads + 3 && now.descriptors <= before.descriptors + 3
            }
            grown += Counts().kilobytes - before.kilobytes
        } while (grown.last() >= 20_000 && grown.size < 5)
        // A node holds some 500 kB while it is open.
        assertTrue(grown.last() < 20_000, "kB beside the heap, each time: $grown")
    }
}
