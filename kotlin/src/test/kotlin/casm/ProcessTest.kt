package casm

import java.io.File
import java.nio.file.Path
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import kotlin.concurrent.thread
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.GlobalScope
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import org.junit.jupiter.api.Test

/** A program that closes nothing: calls wait, and listeners are being told. */
object NeverClosed {
    @JvmStatic
    fun main(args: Array<String>) {
        val node = runBlocking { start() }
        val told = LinkedBlockingQueue<Change>()
        node.onChange(listener = told::put)
        // One that hangs in a listener.
        node.onEvent { Thread.sleep(PATIENCE.inWholeMilliseconds) }
        node.serve("s") { it.data }
        thread(isDaemon = true) { node.channel("c").recvBlocking() }
        @Suppress("OPT_IN_USAGE")
        GlobalScope.launch(Dispatchers.Default) { node.events().collect { } }
        @Suppress("OPT_IN_USAGE")
        GlobalScope.launch(Dispatchers.Default) { node.waitFor(9) }
        told.next()
        println("at its end ${System.currentTimeMillis()}")
    }
}

/** Looks at the package, and calls nothing. */
object OnlyLoaded {
    @JvmStatic
    fun main(args: Array<String>) {
        val before = tasks()
        for (name in listOf("casm.Node", "casm.NodeJava", "casm.Casm", "casm.Config", "casm.Query", "casm.CasmException")) {
            Class.forName(name)
        }
        Config(namespace = "n")
        Query.matching(Index.meta("a", "b"))
        check(tasks().filter { "casm" in it || "tokio" in it }.isEmpty()) { "threads: ${tasks() - before.toSet()}" }
        val maps = File("/proc/self/maps")
        check(!maps.exists() || maps.readLines().none { "libcasm" in it }) { "the library is loaded" }
        println("at its end")
    }

    private fun tasks(): List<String> =
        File("/proc/self/task").listFiles().orEmpty().mapNotNull { runCatching { File(it, "comm").readText().trim() }.getOrNull() }
}

/** A program in a JVM of its own. */
internal class Program(
    main: String,
    vararg args: String,
    output: File,
    environment: Map<String, String> = mapOf(),
) : AutoCloseable {
    private val process: Process

    init {
        val java = Path.of(System.getProperty("java.home"), "bin", "java").toString()
        val classes = System.getProperty("surefire.test.class.path") ?: System.getProperty("java.class.path")
        val library = System.getProperty("jna.library.path")
        val command =
            listOf(java, "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-Djna.library.path=$library", "-cp", classes, main) + args
        // To a file: to read what it prints would wait for its end.
        val builder = ProcessBuilder(command).redirectErrorStream(true).redirectOutput(output)
        builder.environment() += environment
        process = builder.start()
    }

    fun ended(): Int? = if (process.waitFor(PATIENCE.inWholeSeconds, TimeUnit.SECONDS)) process.exitValue() else null

    fun terminate() = process.destroy()

    /** Gives it an empty line to read. */
    fun enter() = process.outputStream.run {
        write('\n'.code)
        close()
    }

    override fun close() {
        process.destroyForcibly()
    }
}

class ProcessTest {
    /** Runs a program to its end, and gives what it printed and when it was over. */
    private fun runs(main: Class<*>): Pair<String, Long> {
        val output = File.createTempFile("casm", ".txt")
        try {
            Program(main.name, output = output).use {
                assertEquals(0, it.ended(), "it hangs, or fails: ${output.readText()}")
            }
            val over = System.currentTimeMillis()
            return output.readText().also { assertTrue("at its end" in it, it) } to over
        } finally {
            output.delete()
        }
    }

    @Test
    fun `exit without close never hangs or aborts and is quick, 50 times`() {
        val times =
            List(50) {
                val (said, over) = runs(NeverClosed::class.java)
                val end = said.lines().first { "at its end" in it }
                over - end.substringAfterLast(' ').toLong()
            }.sorted()
        println("from its end to the exit: ${times[25]} ms, ${times.last()} ms at most")
        // Under a second, where a machine has nothing else to do.
        assertTrue(times.last() < 10_000, "milliseconds: $times")
    }

    @Test
    fun `nothing is started and nothing is loaded by an import`() {
        runs(OnlyLoaded::class.java)
    }

    @Test
    fun `a program that is ended by a signal says goodbye`() =
        patiently {
            val output = File.createTempFile("casm", ".txt")
            val node = start()
            val left = LinkedBlockingQueue<Event.PeerLeft>()
            node.onEvent { if (it is Event.PeerLeft) left.put(it) }
            Program(Follower::class.java.name, node.addrs().first(), output = output).use { program ->
                node.waitFor(2, timeout = PATIENCE)
                // Others see a node before its start has returned.
                until("it has started") { "started" in output.readText() }
                program.terminate()
                assertEquals(LeaveReason.LEFT, left.next().reason, output.readText())
            }
            node.close()
            output.delete()
        }
}

/** Joins another node, and stays. */
object Follower {
    @JvmStatic
    fun main(args: Array<String>) =
        runBlocking {
            start(args[0])
            println("started")
            Thread.sleep(PATIENCE.inWholeMilliseconds)
        }
}
