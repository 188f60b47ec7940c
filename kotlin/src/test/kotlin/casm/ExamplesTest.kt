package casm

import examples.PeersRepository
import java.io.File
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.cancel
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import org.junit.jupiter.api.Assumptions.assumeTrue
import org.junit.jupiter.api.Test

/** As that of an Android app: the scope ends with it. */
private class FakeLifecycle {
    val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private val observers = mutableListOf<PeersRepository>()

    fun add(observer: PeersRepository) {
        observers += observer
    }

    fun start() = each(PeersRepository::onStart)

    fun stop() = each(PeersRepository::onStop)

    suspend fun destroy() {
        each(PeersRepository::onDestroy).forEach { it.join() }
        scope.cancel()
    }

    private fun each(step: (PeersRepository) -> Job): List<Job> = observers.map(step)
}

class ExamplesTest {
    @Test
    fun `an app's repository follows its lifecycle`() =
        patiently {
            val other = start(meta = mapOf("name" to "server"))
            val left = LinkedBlockingQueue<Event.PeerLeft>()
            other.onEvent { if (it is Event.PeerLeft) left.put(it) }
            val lifecycle = FakeLifecycle()
            val config = loopback(other.addrs().first(), mapOf("name" to "phone")).copy(power = "low")
            val repository = PeersRepository(lifecycle.scope, config)
            lifecycle.add(repository)
            lifecycle.start()
            val both = repository.peers.first { it.size == 2 }
            assertEquals(setOf("server", "phone"), both.map { it.meta["name"] }.toSet())

            val heard = CompletableDeferred<String>()
            lifecycle.scope.launch { heard.complete(repository.messages("chat").first()) }
            val chat = other.topic("chat")
            while (!heard.isCompleted) {
                chat.publish("hello".bytes())
                delay(20)
            }
            assertEquals("hello", heard.await())

            // In the background nobody sees it; what it knows stays.
            lifecycle.stop().forEach { it.join() }
            assertEquals(LeaveReason.LEFT, left.next().reason)
            other.setMeta(mapOf("name" to "server", "load" to "1"), PATIENCE)
            assertEquals(2, repository.peers.value.size)
            lifecycle.start()
            other.waitFor(2, timeout = PATIENCE)
            repository.peers.first { peers -> peers.any { it.meta["load"] == "1" } }
            lifecycle.destroy()
            other.waitFor(1, timeout = PATIENCE)
            left.next()
            other.close()
        }

    @Test
    fun `a worker on the command line serves what Python and Java call`() {
        val python = System.getenv("CASM_PYTHON")
        assumeTrue(python != null, "the Python package is not there: `cargo xtask test kotlin` makes it")
        val output = File.createTempFile("casm", ".txt")
        Program("examples.WorkerKt", "workers", "none", output = output).use {
            until("the worker says where it is: ${output.readText()}") { "at /" in output.readText() }
            val addr = output.readLines().first { it.startsWith("at /") }.removePrefix("at ")
            val script =
                """
                import casm, sys
                with casm.Node("workers", listen=["/ip4/127.0.0.1/tcp/0"], boot=[sys.argv[1]]) as node:
                    answer = node.call("shout", b"hello from python", wait=True, timeout=60)
                    print(bytes(answer).decode(), node.view().get(answer.peer).meta["role"])
                """.trimIndent()
            val caller = ProcessBuilder(python, "-c", script, addr).redirectErrorStream(true).start()
            val said = caller.inputStream.bufferedReader().readText()
            assertTrue(caller.waitFor(PATIENCE.inWholeSeconds, TimeUnit.SECONDS) && caller.exitValue() == 0, said)
            assertEquals("HELLO FROM PYTHON worker", said.trim())

            val watched = File.createTempFile("casm", ".txt")
            Program("examples.Watcher", "workers", addr, output = watched).use { watcher ->
                assertEquals(0, watcher.ended(), watched.readText())
                assertTrue("says HELLO" in watched.readText(), watched.readText())
            }
            watched.delete()
        }
        output.delete()
    }
}
