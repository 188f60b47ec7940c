package casm

import java.io.File
import java.util.concurrent.CancellationException as JavaCancellation
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import kotlin.concurrent.thread
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.microseconds
import kotlin.time.Duration.Companion.milliseconds
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.withTimeoutOrNull
import org.junit.jupiter.api.Test

/** Whoever stops waiting ends the call underneath, and nothing is lost by that. */
class CancelTest {
    @Test
    fun `a cancelled call ends at once, whatever it waits for`() =
        patiently {
            val node = start()
            val channel = node.channel("c")
            val topic = node.topic("t")
            val semaphore = node.semaphore("s", 1, PATIENCE)
            val lease = semaphore.acquire(PATIENCE)
            val calls: List<suspend () -> Any?> =
                listOf(
                    { node.waitFor(9) }, { channel.recv() }, { channel.take() }, { channel.send(ByteArray(1)) },
                    { topic.waitForPeers(9) }, { semaphore.acquire() }, { lease.waitLost() },
                    { node.eventItems().use { while (true) it.next() } }, { select(channel.receiving()) },
                    { node.call("nobody", wait = true, timeout = PATIENCE) },
                )
            for (call in calls) {
                val waiting = async(Dispatchers.Default) { call() }
                delay(20)
                waiting.cancel()
                assertFailsWith<CancellationException> { waiting.await() }
            }
            // Nothing of them is left: nobody receives this.
            assertKind(CasmException.Kind.TIMEOUT) { channel.send(ByteArray(1), 50.milliseconds) }
            lease.release()
            semaphore.acquire(PATIENCE).close()
            node.close()
        }

    @Test
    fun `a value that arrives for a cancelled call goes back`() =
        patiently {
            val (here, there) = pair()
            val own = here.channel("jobs", 1000)
            val jobs = there.openChannel("jobs", here.id, PATIENCE)
            val many = 400
            repeat(many) { own.send(byteArrayOf((it % 100).toByte(), (it / 100).toByte()), PATIENCE) }
            val received = LinkedBlockingQueue<Int>()
            // Cancelled at any moment, before and behind that in which the value comes.
            val receivers =
                List(200) { n ->
                    launch(Dispatchers.Default) {
                        val channel = if (n % 2 == 0) own else jobs
                        val value = channel.recv()
                        received.put(value[0] + 100 * value[1])
                    }.also { receiver ->
                        launch(Dispatchers.Default) {
                            delay((n * 37 % 4000).microseconds)
                            receiver.cancel()
                        }
                    }
                }
            receivers.forEach { it.join() }
            while (received.size < many) {
                // One that came to the other node stays there, for its next receiver.
                val channel = if (jobs.inDoubt > 0) jobs else own
                val value = withTimeoutOrNull(PATIENCE) { channel.recv() }
                checkNotNull(value) { "${many - received.size} values are lost" }
                received.put(value[0] + 100 * value[1])
            }
            assertEquals((0 until many).toSet(), received.toSet(), "none is lost, and none comes twice")
            assertEquals(many, received.size)
            here.close()
            there.close()
        }

    @Test
    fun `a job and a lease that arrive for a cancelled call go back`() =
        patiently {
            val node = start()
            val channel = node.channel("jobs", 1)
            val semaphore = node.semaphore("s", 1, PATIENCE)
            channel.send("job".bytes(), PATIENCE)
            repeat(100) { n ->
                val jobs = launch(Dispatchers.Default) { channel.take().close() }
                val leases = launch(Dispatchers.Default) { semaphore.acquire().close() }
                delay((n * 10).microseconds)
                jobs.cancel()
                leases.cancel()
                jobs.join()
                leases.join()
            }
            assertEquals("job", channel.take(PATIENCE).data.decodeToString())
            semaphore.acquire(PATIENCE).close()
            node.close()
        }

    @Test
    fun `a read that is cancelled loses no byte`() =
        patiently {
            val (here, there) = pair()
            val many = 2000
            there.onStream("/count/1") { stream, _ ->
                repeat(many) { stream.write(byteArrayOf((it % 100).toByte())) }
            }
            val stream = here.openStream(there.id, "/count/1", PATIENCE)
            val read = LinkedBlockingQueue<Byte>()
            var n = 0
            while (read.size < many) {
                val reading = launch(Dispatchers.Default) { stream.read(7).forEach(read::put) }
                delay((n++ * 37 % 500).microseconds)
                if (n % 3 != 0) reading.cancel()
                reading.join()
            }
            assertEquals(List(many) { (it % 100).toByte() }, read.toList())
            stream.close()
            here.close()
            there.close()
        }

    @Test
    fun `a node that arrives for a cancelled start is closed`() =
        patiently {
            // What all nodes share is there before.
            start().close()
            val before = descriptors()
            repeat(20) { n ->
                val starting = launch(Dispatchers.Default) { start().close() }
                delay(n.milliseconds)
                starting.cancel()
                starting.join()
            }
            // Each that is left has a socket at least.
            until("nothing is left of them") { descriptors() < before + 10 }
        }

    @Test
    fun `a flow that is cancelled ends its subscription`() =
        patiently {
            val node = start()
            val topic = node.topic("t")
            val taken = async { topic.messages(echo = true).take(3).toList() }
            while (!taken.isCompleted) {
                topic.publish(ByteArray(1))
                delay(5)
            }
            assertEquals(3, taken.await().size)
            // Of the service, the handler ends with who reads its parts.
            val ended = LinkedBlockingQueue<Boolean>()
            node.serveStream("endless") {
                kotlinx.coroutines.flow.flow {
                    try {
                        while (true) emit(ByteArray(1))
                    } finally {
                        ended.put(true)
                    }
                }
            }
            assertEquals(5, node.callStream("endless").take(5).toList().size)
            assertTrue(ended.next())
            node.close()
        }

    @Test
    fun `an interrupted thread and a cancelled future call off what they wait for`() =
        patiently {
            val node = start()
            val channel = node.channel("c", 1)
            val kinds = LinkedBlockingQueue<Any>()
            val waiting =
                thread {
                    try {
                        channel.recvBlocking()
                    } catch (error: CasmException) {
                        kinds.add(error.kind)
                        kinds.add(Thread.currentThread().isInterrupted)
                    }
                }
            delay(20)
            waiting.interrupt()
            assertEquals(CasmException.Kind.CANCELLED, kinds.next())
            assertEquals(true, kinds.next())

            repeat(50) {
                val future = channel.recvAsync()
                future.cancel(true)
                assertFailsWith<JavaCancellation> { future.get() }
                val late = channel.recvAsync().orTimeout(1, TimeUnit.MILLISECONDS)
                runCatching { late.get() }
            }
            val future = channel.recvAsync()
            channel.send("there".bytes(), PATIENCE)
            assertEquals("there", future.get(PATIENCE.inWholeSeconds, TimeUnit.SECONDS).decodeToString())
            assertTrue(!future.cancel(true), "it is there")
            node.close()
        }

    /** Open files and sockets, where the system tells. */
    private fun descriptors() = File("/proc/self/fd").list()?.size ?: 0
}
