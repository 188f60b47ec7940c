package casm

import java.util.concurrent.LinkedBlockingQueue
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.milliseconds
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.channels.Channel as Queue
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.withContext
import org.junit.jupiter.api.Test

class MessagingTest {
    @Test
    fun `what is published is pulled, told, and flows`() =
        patiently {
            val (first, second) = pair()
            val topic = first.topic("news", maxData = 100)
            val theirs = second.topic("news")
            assertEquals(listOf(second.id), topic.waitForPeers(1, PATIENCE))
            assertEquals(listOf(second.id), topic.peers())
            assertTrue(topic.fullName.endsWith("/topic/news"))
            val told = LinkedBlockingQueue<Message>()
            theirs.onMessage(listener = told::put)
            val messages = theirs.subscribe(queue = 8, full = Full.DROP_NEWEST)
            assertEquals(1, topic.publish("hello".bytes()))
            val pulled = messages.next(PATIENCE)!!
            assertEquals(first.id, pulled.source)
            assertContentEquals("hello".bytes(), pulled.data)
            assertEquals(pulled, told.next())

            val own = topic.subscribe(echo = true)
            val flow = async { topic.messages(echo = true).take(1).toList() }
            // It is subscribed when it hears something.
            while (!flow.isCompleted) {
                topic.publish("again".bytes())
                own.next(PATIENCE)
            }
            assertContentEquals("again".bytes(), flow.await().single().data)
            assertKind(CasmException.Kind.TOO_LARGE) { topic.publish(ByteArray(101)) }
            topic.close()
            second.close()
            while (messages.next(PATIENCE) != null) continue
            first.close()
            assertKind(CasmException.Kind.CLOSED) { topic.publish("late".bytes()) }
        }

    @Test
    fun `a request is answered, with headers, in parts, or not`() =
        patiently {
            val (server, caller) = pair()
            val serving = server.serve("shout") { it.data.decodeToString().uppercase().bytes() }
            server.serveAnswers("later") { request ->
                withContext(Dispatchers.IO) { Answer(request.data, request.headers + ("k" to "v")) }
            }
            server.serve("throws") { error("no luck") }
            server.serve("breaks") { throw StackOverflowError("too deep") }
            server.serveStream("count") { flow { repeat(10) { emit(byteArrayOf(it.toByte())) } } }
            for (name in listOf("shout", "later", "throws", "breaks", "count")) {
                caller.waitFor(1, Query.service(name), PATIENCE)
            }
            assertEquals("HELLO", caller.call("shout", "hello".bytes()).data.decodeToString())
            val later = caller.call("later", "x".bytes(), headers = mapOf("trace" to "1"))
            assertEquals("x" to server.id, later.data.decodeToString() to later.peer)
            assertEquals(mapOf("trace" to "1", "k" to "v"), later.headers)
            for ((name, why) in listOf("throws" to "no luck", "breaks" to "too deep")) {
                val failure = assertKind(CasmException.Kind.REMOTE) { caller.call(name) }
                assertTrue(why in failure.message!!, failure.message)
                assertFalse("casm" in failure.message!!, "its stack is its own: ${failure.message}")
            }
            val parts = caller.callStream("count").toList()
            assertEquals((0..9).toList(), parts.map { it.single().toInt() })
            val reply = caller.callAll("shout", "a".bytes()).toList().single()
            assertEquals(server.id to "A", reply.peer to reply.data?.decodeToString())
            val replies = caller.replies("throws")
            assertEquals(CasmException.Kind.REMOTE, replies.next(PATIENCE)?.error?.kind)
            assertNull(replies.next(PATIENCE))
            assertEquals("all", replies.ended)
            assertEquals("1", caller.view()[server.id]!!.services["shout"])
            assertEquals(2, server.serviceStats("shout").calls)
            assertEquals(setOf("shout", "later", "throws", "breaks", "count"), server.services().toSet())
            serving.stop()
            assertKind(CasmException.Kind.NOT_FOUND) { caller.call("shout", peer = server.id) }
            caller.close()
            server.close()
        }

    @Test
    fun `without certificates a service for a role is for its own node alone`() =
        patiently {
            val (server, caller) = pair()
            server.serve("work", allow = listOf("worker")) { it.data }
            val found = caller.waitFor(1, Query.service("work"), PATIENCE)
            assertEquals(listOf<String>(), found[server.id]!!.roles)
            assertEquals(0, found.count(Query.role("worker")))
            val failure = assertKind(CasmException.Kind.NOT_FOUND) { caller.call("work") }
            assertTrue("`worker`" in failure.message!!, failure.message)
            assertEquals("x", server.call("work", "x".bytes()).data.decodeToString())
            caller.close()
            server.close()
        }

    @Test
    fun `a caller that goes cancels the handler's coroutine`() =
        patiently {
            val (server, caller) = pair()
            val begun = Queue<Unit>(Queue.UNLIMITED)
            val ended = Queue<Boolean>(Queue.UNLIMITED)
            server.serve("hangs") { request ->
                begun.send(Unit)
                try {
                    awaitCancellation()
                } finally {
                    ended.trySend(request.cancelled)
                }
            }
            caller.waitFor(1, Query.service("hangs"), PATIENCE)
            val call = async { caller.call("hangs", timeout = PATIENCE) }
            begun.receive()
            call.cancel()
            assertTrue(ended.receive(), "the request says so too")
            // So does one whose time is over; of some it is before they are there.
            do {
                assertKind(CasmException.Kind.TIMEOUT) { caller.call("hangs", timeout = 200.milliseconds) }
            } while (begun.tryReceive().isFailure)
            ended.receive()
            caller.close()
            server.close()
        }

    @Test
    fun `a handler that closes its node is not waited for`() =
        patiently {
            val node = start()
            val closed = Queue<Boolean>(Queue.UNLIMITED)
            node.serve("stop") {
                node.close(PATIENCE)
                closed.trySend(node.closed)
                ByteArray(0)
            }
            try {
                node.call("stop", timeout = PATIENCE)
            } catch (_: CasmException) {
                // Its node is gone.
            }
            assertTrue(closed.receive())
        }

    @Test
    fun `a stream carries bytes both ways`() =
        patiently {
            val (here, there) = pair()
            there.onStream("/shout/1") { stream, peer ->
                assertEquals(here.id, peer)
                stream.pieces().collect { stream.write(it.decodeToString().uppercase().bytes()) }
            }
            val stream = here.openStream(there.id, "/shout/1", PATIENCE)
            assertEquals(there.id to "/shout/1", stream.peer to stream.protocol)
            stream.write("hello".bytes(), PATIENCE)
            assertEquals("HELLO", stream.read(timeout = PATIENCE).decodeToString())
            stream.closeWrite(PATIENCE)
            assertEquals(0, stream.read(timeout = PATIENCE).size)
            stream.close(PATIENCE)
            assertTrue(stream.closed)

            withContext(Dispatchers.IO) {
                val record = here.view()[there.id]!!
                val plain = here.openStream(record, "/shout/1", PATIENCE)
                plain.outputStream().bufferedWriter().use { it.write("once more") }
                assertEquals("ONCE MORE", plain.inputStream().bufferedReader().use { it.readText() })
            }
            val broken = here.openStream(there.id, "/shout/1", PATIENCE)
            broken.reset()
            assertKind(CasmException.Kind.CLOSED) { broken.read(timeout = PATIENCE) }
            here.close()
            there.close()
        }

    @Test
    fun `values, jobs, a select and a lease go from node to node`() =
        patiently {
            val (here, there) = pair()
            val own = here.channel("jobs", 4)
            val jobs = there.openChannel("jobs", here.id, PATIENCE)
            jobs.send("1".bytes(), PATIENCE)
            assertEquals(1, own.waiting)
            assertNull(jobs.waiting)
            assertEquals(here.id, jobs.owner)
            assertEquals("1", own.recv(PATIENCE).decodeToString())
            assertKind(CasmException.Kind.TIMEOUT) { jobs.recv(50.milliseconds) }

            own.send("2".bytes(), PATIENCE)
            jobs.take(PATIENCE).giveBack(PATIENCE)
            // One that is let go of undone goes back too.
            jobs.take(PATIENCE).close()
            val job = jobs.take(PATIENCE)
            assertEquals("2", job.data.decodeToString())
            job.done(PATIENCE)
            assertTrue(job.lost)

            val hand = there.channel("hand")
            val sending = async { hand.send("3".bytes(), PATIENCE) }
            val (index, value) = select(jobs.receiving(), hand.receiving(), timeout = PATIENCE)
            assertEquals(1 to "3", index to value?.decodeToString())
            sending.await()

            here.semaphore("leader", 1, PATIENCE)
            val leader = there.openSemaphore("leader", here.id, PATIENCE)
            val lease = leader.acquire(PATIENCE)
            assertKind(CasmException.Kind.TIMEOUT) { leader.acquire(50.milliseconds) }
            lease.release()
            lease.waitLost(PATIENCE)
            leader.acquire(PATIENCE).use { assertTrue(it.token > lease.token) }

            repeat(3) { own.send(byteArrayOf(it.toByte()), PATIENCE) }
            own.close(PATIENCE)
            assertEquals(listOf(0, 1, 2), jobs.values().toList().map { it.single().toInt() })
            assertKind(CasmException.Kind.CLOSED) { own.close(PATIENCE) }
            there.close()
            here.close()
        }
}
