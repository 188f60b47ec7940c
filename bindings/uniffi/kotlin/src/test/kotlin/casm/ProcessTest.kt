package casm

import casm.ffi.Change
import casm.ffi.ChangeListener
import casm.ffi.LogLevel
import casm.ffi.LogListener
import casm.ffi.LogRecord
import casm.ffi.Query
import casm.ffi.forwardLogs
import java.io.File
import java.nio.file.Path
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import kotlin.concurrent.thread
import kotlin.test.assertEquals
import kotlin.test.assertNotNull
import kotlin.test.assertTrue
import org.junit.jupiter.api.Test

/** A program that closes nothing: calls wait, and a listener is being told. */
object NeverClosed {
    @JvmStatic
    fun main(args: Array<String>) {
        val node = start()
        val told = LinkedBlockingQueue<Change>()
        node.onChange(
            Query(),
            object : ChangeListener {
                override fun onChange(change: Change) = told.put(change)
            },
        )
        thread(isDaemon = true) { node.waitFor(9u) }
        val events = node.events()
        thread(isDaemon = true) { while (events.next() != null) continue }
        checkNotNull(told.poll(PATIENCE.toLong(), TimeUnit.SECONDS)) { "nothing is told" }
        println("at its end")
    }
}

class ProcessTest {
    @Test
    fun `exit without close never hangs or aborts`() {
        val java = Path.of(System.getProperty("java.home"), "bin", "java").toString()
        val classes = System.getProperty("surefire.test.class.path") ?: System.getProperty("java.class.path")
        val library = System.getProperty("jna.library.path")
        // To a file: to read what it prints would wait for its end.
        val output = File.createTempFile("casm", ".txt").apply { deleteOnExit() }
        repeat(10) {
            val program =
                ProcessBuilder(java, "-Djna.library.path=$library", "-cp", classes, NeverClosed::class.java.name)
                    .redirectErrorStream(true)
                    .redirectOutput(output)
                    .start()
            try {
                val ended = program.waitFor(PATIENCE.toLong(), TimeUnit.SECONDS)
                val said = output.readText()
                assertTrue(ended, "it hangs: $said")
                assertEquals(0, program.exitValue(), said)
                assertTrue("at its end" in said, said)
            } finally {
                program.destroyForcibly()
            }
        }
    }

    @Test
    fun `log records are forwarded, also after a listener that throws`() {
        val told = LinkedBlockingQueue<LogRecord>()
        forwardLogs(
            LogLevel.DEBUG,
            object : LogListener {
                override fun onLogs(records: List<LogRecord>) {
                    records.forEach(told::put)
                    error("an exception that is to be survived")
                }
            },
        )
        repeat(2) {
            val node = start()
            // What it throws is logged.
            node.onChange(
                Query(),
                object : ChangeListener {
                    override fun onChange(change: Change) = error("an exception that is to be logged")
                },
            )
            val records = generateSequence { told.poll(PATIENCE.toLong(), TimeUnit.SECONDS) }
            val record = assertNotNull(records.find { it.target.startsWith("casm") }, "nothing is told")
            assertTrue("that is to be logged" in record.message, "$record")
            node.leave(PATIENCE)
        }
        forwardLogs(LogLevel.OFF, object : LogListener { override fun onLogs(records: List<LogRecord>) = Unit })
    }
}
