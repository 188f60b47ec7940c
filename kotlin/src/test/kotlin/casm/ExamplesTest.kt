package casm

import examples.PeersRepository
import java.io.File
import java.net.InetAddress
import java.net.ServerSocket
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import kotlin.test.assertContains
import kotlin.test.assertEquals
import kotlin.test.assertNotNull
import kotlin.test.assertNull
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

/** As that of an activity: its scope is cancelled as soon as it is destroyed. */
private class FakeLifecycle {
    val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private val observers = mutableListOf<PeersRepository>()

    fun add(observer: PeersRepository) {
        observers += observer
    }

    fun start() = each(PeersRepository::onStart)

    fun stop() = each(PeersRepository::onStop)

    suspend fun destroy() {
        val goodbyes = each(PeersRepository::onDestroy)
        scope.cancel()
        goodbyes.forEach { it.join() }
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
            val repository = PeersRepository(config)
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
            assertNull(repository.problem.value)
            lifecycle.destroy()
            other.waitFor(1, timeout = PATIENCE)
            assertEquals(LeaveReason.LEFT, left.next().reason)
            other.close()
        }

    @Test
    fun `an app's repository shows what fails, and works when it is tried again`() =
        patiently {
            val wrong = PeersRepository(loopback().copy(namespace = "a b"))
            wrong.onStart().join()
            assertContains(assertNotNull(wrong.problem.value), "a b")
            wrong.onStop().join()
            wrong.onDestroy().join()

            // The port is somebody else's: at the start, and again at a resume.
            val taken = ServerSocket(0, 1, InetAddress.getByName("127.0.0.1"))
            val addr = "/ip4/127.0.0.1/tcp/${taken.localPort}"
            val repository = PeersRepository(loopback().copy(listen = listOf(addr)))
            repository.onStart().join()
            assertContains(assertNotNull(repository.problem.value), "${taken.localPort}")
            taken.close()
            repository.onStart().join()
            assertNull(repository.problem.value)
            assertEquals(1, repository.peers.first { it.isNotEmpty() }.size)
            repository.onStop().join()
            ServerSocket(taken.localPort, 1, taken.inetAddress).use {
                repository.onStart().join()
                assertContains(assertNotNull(repository.problem.value), "${it.localPort}")
            }
            repository.onStart().join()
            assertNull(repository.problem.value)
            repository.onDestroy().join()
        }

    @Test
    fun `README's quickstart runs`() =
        patiently {
            // It waits for three: this node, and two that do what README says.
            val node = Node.start(loopback(meta = mapOf("role" to "worker")).copy(namespace = "demo"), PATIENCE)
            val left = LinkedBlockingQueue<Event.PeerLeft>()
            node.onEvent { if (it is Event.PeerLeft) left.put(it) }
            val boot = mapOf("CASM_BOOT" to node.addrs().first())
            val outputs = List(2) { File.createTempFile("casm", ".txt") }
            val programs = outputs.map { Program("snippets.readme_1.SnippetKt", output = it, environment = boot) }
            val ids = node.waitFor(3, timeout = PATIENCE).map { it.peer }
            for (output in outputs) until("it prints all three") { ids.all { it in output.readText() } }
            // Not before: of one that has left, the other hears no more.
            programs.forEach { it.enter() }
            for ((program, output) in programs.zip(outputs)) {
                program.use { assertEquals(0, it.ended(), output.readText()) }
                assertEquals(3, output.readLines().size, output.readText())
                assertEquals(LeaveReason.LEFT, left.next().reason)
                output.delete()
            }
            node.close()
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
