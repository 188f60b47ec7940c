package casm

import com.sun.jna.Native
import java.lang.reflect.Modifier
import java.util.concurrent.CountDownLatch
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import kotlin.concurrent.thread
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertIs
import kotlin.test.assertNotSame
import kotlin.test.assertNull
import kotlin.test.assertSame
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeoutOrNull
import org.junit.jupiter.api.Test

/** What is asked of every language, and of Kotlin: a test for each. */
class GuideTest {
    @Test
    fun `errors have one kind each, as the table has them, and are open to more`() {
        assertEquals(Table.strings("errors", "kinds"), CasmException.Kind.all().map { it.name })
        assertEquals(CasmException.Kind.NOT_FOUND, CasmException.Kind.named("NotFound"))
        assertEquals("Newer", CasmException.Kind.named("Newer").toString())
        class Mine : CasmException(Kind.INVALID, "a program's own")
        assertIs<RuntimeException>(Mine())
        val given =
            listOf(
                casm.ffi.CasmException.Config("m"), casm.ffi.CasmException.Address("m"),
                casm.ffi.CasmException.Bind("m"), casm.ffi.CasmException.Closed("m"),
                casm.ffi.CasmException.Timeout("m"), casm.ffi.CasmException.Cancelled("m"),
                casm.ffi.CasmException.NotFound("m"), casm.ffi.CasmException.Unreachable("m"),
                casm.ffi.CasmException.Protocol("m"), casm.ffi.CasmException.Invalid("m"),
                casm.ffi.CasmException.TooLarge("m"), casm.ffi.CasmException.Busy("m"),
                casm.ffi.CasmException.Io("m"), casm.ffi.CasmException.Paused("m"),
                casm.ffi.CasmException.Remote("m"), casm.ffi.CasmException.Internal("m"),
            )
        assertEquals(CasmException.Kind.all(), given.map { ours(it).kind })
        assertEquals(setOf("m"), given.map { ours(it).message }.toSet())
    }

    @Test
    fun `an event tells that a peer has failed`() {
        val given = casm.ffi.Event.PeerLeft("12D3", casm.ffi.LeaveReason.FAILED)
        assertEquals<Event>(Event.PeerLeft("12D3", LeaveReason.FAILED), Event.of(given))
        assertEquals(listOf("LEFT", "EXPIRED", "FAILED"), LeaveReason.entries.map { it.name })
    }

    @Test
    fun `close is idempotent, and works from inside a callback`() =
        patiently {
            val node = start()
            val closed = LinkedBlockingQueue<Boolean>()
            node.onChange {
                node.close()
                closed.put(node.closed)
            }
            assertTrue(closed.next())
            node.close()
            node.close(0.seconds)
            assertTrue(node.closed)
        }

    @Test
    fun `close is not cancelled, and is bounded`() =
        patiently {
            val (server, caller) = pair()
            val hangs = CompletableDeferred<Unit>()
            server.serve("hangs") {
                hangs.complete(Unit)
                delay(PATIENCE)
                ByteArray(0)
            }
            caller.waitFor(1, Query.service("hangs"), PATIENCE)
            launch { runCatching { caller.call("hangs", timeout = PATIENCE) } }
            hangs.await()
            val closing = launch { server.close(1.seconds) }
            delay(50)
            closing.cancel()
            closing.join()
            assertTrue(server.closed)
            caller.close()

            // An interrupted thread closes it all the same, and stays interrupted.
            val node = start()
            val closer =
                thread {
                    Thread.currentThread().interrupt()
                    node.close()
                    assertTrue(Thread.currentThread().isInterrupted)
                }
            closer.join()
            assertTrue(node.closed)
        }

    @Test
    fun `later calls of whatever was closed say Closed`() =
        patiently {
            val (node, other) = pair()
            val topic = node.topic("t")
            val channel = node.channel("c", 1)
            val semaphore = node.semaphore("s", 1, PATIENCE)
            val lease = semaphore.acquire(PATIENCE)
            channel.send(ByteArray(1), PATIENCE)
            val job = channel.take(PATIENCE)
            val far = node.openChannel(other.also { it.channel("far") }.let { "far" }, other.id, PATIENCE)
            val remote = node.viewOf(other.id, PATIENCE)
            val events = node.eventItems()
            other.onStream("/s/1") { stream, _ -> stream.read() }
            val stream = node.openStream(other.id, "/s/1", PATIENCE)
            val serving = node.serve("x") { it.data }
            val subscription = node.onEvent { }
            val view = node.view()
            val key = node.id
            node.close()
            // Twice: the second is no different.
            repeat(2) {
                val calls: List<suspend () -> Any?> =
                    listOf(
                        { node.addrs() }, { node.info() }, { node.view() }, { node.connected() },
                        { node.peerStatus(other.id) }, { node.reachability() }, { node.metrics() }, { node.metricsSnapshot() },
                        { node.waitFor(1) }, { node.viewOf(other.id) }, { node.connect(other.id) },
                        { node.openStream(other.id, "/s/1") }, { node.onStream("/s/2") { _, _ -> } },
                        { node.advertise("n", 10.seconds) }, { node.setMeta(mapOf()) },
                        { node.updateMeta(mapOf("a" to "b")) }, { node.setHost("h") }, { node.setTtl(10.seconds) },
                        { node.eventItems() }, { node.events().first() }, { node.onEvent { } },
                        { node.changeItems() }, { node.subscribe().first() }, { node.onChange { } },
                        { node.findPeers().first() }, { node.topic("t") }, { node.channel("d") },
                        { node.openChannel("far", other.id) }, { node.semaphore("s", 1) },
                        { node.openSemaphore("s", other.id) }, { node.serve("y") { it.data } },
                        { node.call("x") }, { node.callAll("x").first() }, { node.callStream("x").first() },
                        { node.services() }, { node.serviceStats("x") }, { node.pause() }, { node.resume() },
                        { node.isPaused },
                        { topic.publish(ByteArray(1)) }, { topic.peers() }, { topic.subscribe() },
                        { topic.waitForPeers(1) }, { topic.onMessage { } },
                        { channel.send(ByteArray(1)) }, { channel.recv() }, { channel.take() }, { channel.close() },
                        { far.send(ByteArray(1)) }, { far.recv() }, { far.take() }, { far.close() },
                        { select(channel.receiving()) }, { select(channel.sending(ByteArray(1))) },
                        { select(far.receiving()) }, { job.done() }, { job.giveBack() },
                        { semaphore.acquire() }, { lease.waitLost() },
                        { remote.count() }, { remote.lookup(Query.all()) }, { remote.get(other.id) },
                        { stream.read() }, { stream.write(ByteArray(1)) }, { stream.closeWrite() },
                    )
                assertEquals(listOf(), calls.withIndex().mapNotNull { (at, call) -> notClosed(call)?.let { "call $at: $it" } })
                // What is over, says so.
                while (events.next(PATIENCE) != null) continue
                assertTrue(lease.lost && stream.closed && job.lost)
                serving.stop()
                subscription.cancel()
                lease.release()
                topic.close()
                // What is the program's own stays as it was.
                assertEquals(2, view.size)
                assertEquals(key, node.id)
            }
            other.close()
        }

    @Test
    fun `later calls of what was closed by itself say Closed, and the node goes on`() =
        patiently {
            val (node, other) = pair()
            val channel = node.channel("c", 2)
            repeat(2) { channel.send(ByteArray(1), PATIENCE) }
            val (closed, done) = channel.take(PATIENCE) to channel.take(PATIENCE)
            closed.close()
            done.done(PATIENCE)
            done.close()
            val semaphore = node.semaphore("s", 1, PATIENCE)
            semaphore.close()
            val remote = node.viewOf(other.id, PATIENCE)
            remote.close()
            other.onStream("/s/1") { stream, _ -> stream.read() }
            val stream = node.openStream(other.id, "/s/1", PATIENCE)
            stream.close(PATIENCE)
            val items = node.eventItems()
            items.close()
            channel.close(PATIENCE)
            repeat(2) {
                // What was in it is still received, and was.
                runCatching { channel.recv(PATIENCE) }
                val calls: List<suspend () -> Any?> =
                    listOf(
                        { closed.done() }, { closed.giveBack() }, { done.done() }, { done.giveBack() },
                        { semaphore.acquire() }, { remote.count() }, { remote.get(other.id) },
                        { stream.read() }, { stream.write(ByteArray(1)) }, { stream.closeWrite() },
                        { channel.send(ByteArray(1)) }, { channel.recv() }, { channel.take() }, { channel.close() }, { select(channel.receiving()) },
                    )
                assertEquals(listOf(), calls.withIndex().mapNotNull { (at, call) -> notClosed(call)?.let { "call $at: $it" } })
                assertNull(items.next())
                assertTrue(stream.closed)
                closed.close()
                remote.close()
                stream.close()
                items.close()
            }
            assertEquals(2, node.view().size)
            node.close()
            other.close()
        }

    /** What came of a call that must say that something is closed; null if it said so. */
    private suspend fun notClosed(call: suspend () -> Any?): String? =
        try {
            val given = withTimeoutOrNull(PATIENCE / 6) { "gave ${call()}" }
            given ?: "waits"
        } catch (error: CasmException) {
            if (error.kind == CasmException.Kind.CLOSED) null else "$error"
        }

    @Test
    fun `events come on one thread for each node, a daemon that is attached once`() =
        patiently {
            val threads = LinkedBlockingQueue<Thread>()
            val node = Node.start(loopback(), PATIENCE) { threads.put(Thread.currentThread()) }
            node.onChange { threads.put(Thread.currentThread()) }
            val topic = node.topic("t")
            topic.onMessage(echo = true) { threads.put(Thread.currentThread()) }
            repeat(20) {
                topic.publish(ByteArray(1))
                delay(10)
            }
            val first = threads.next()
            assertTrue(first.isDaemon, "it must not keep the program alive")
            repeat(21) { assertSame(first, threads.next(), "it is the same thread each time") }
            // Each node has its own.
            val others = LinkedBlockingQueue<Thread>()
            Node.start(loopback(), PATIENCE) { others.put(Thread.currentThread()) }.use {
                assertNotSame(first, others.next())
            }
            node.close()
        }

    @Test
    fun `no lock is held while a listener is told, which may call anything and block`() =
        patiently {
            val node = start()
            val (told, goOn) = CountDownLatch(1) to CountDownLatch(1)
            val addrs = LinkedBlockingQueue<List<String>>()
            node.onChange {
                // A coroutine that waits here is another's business, but does no harm.
                runBlocking { node.setHost("from-inside", PATIENCE) }
                addrs.put(node.addrs())
                told.countDown()
                goOn.await()
            }
            assertTrue(told.await(PATIENCE.inWholeSeconds, TimeUnit.SECONDS))
            // It is blocked; nothing else is.
            assertEquals(node.addrs(), addrs.next())
            node.setMeta(mapOf("a" to "b"), PATIENCE)
            node.waitFor(1, Query.matching(Index.meta("a", "b")), PATIENCE)
            goOn.countDown()
            node.close()
        }

    @Test
    fun `the queue of a listener is bounded, drops the oldest, and counts them`() =
        patiently {
            val node = start()
            val topic = node.topic("t")
            val (told, goOn) = LinkedBlockingQueue<Int>() to CountDownLatch(1)
            val subscription =
                topic.onMessage(queue = 4, echo = true) {
                    told.put(it.data[0].toInt())
                    goOn.await()
                }
            val items = topic.subscribe(queue = 4, echo = true)
            topic.publish(byteArrayOf(0))
            assertEquals(0, told.next())
            for (n in 1..50) topic.publish(byteArrayOf(n.toByte()))
            until("what was too much is counted") { subscription.dropped > 0 && items.dropped > 0 }
            goOn.countDown()
            val last = generateSequence { told.next() }.first { it == 50 }
            assertEquals(50, last, "the newest are kept")
            items.close()
            node.close()
        }

    @Test
    fun `a callback that throws is counted, and delivery goes on`() =
        patiently {
            val node = start()
            val calls = AtomicInteger()
            val told = LinkedBlockingQueue<Change>()
            val subscription =
                node.onChange {
                    when (calls.getAndIncrement()) {
                        0 -> error("an exception that is to be counted")
                        1 -> throw StackOverflowError("an error that is to be counted")
                        else -> told.put(it)
                    }
                }
            node.waitFor(1, timeout = PATIENCE)
            for (host in listOf("first", "second", "third")) node.setHost(host, PATIENCE)
            told.next()
            until("both are counted") { subscription.failed == 2L }
            node.close()
        }

    @Test
    fun `a subscription goes on when nobody holds it, until it is cancelled`() =
        patiently {
            val node = start()
            val told = LinkedBlockingQueue<Change>()
            node.onChange(listener = told::put)
            told.next()
            repeat(3) {
                System.gc()
                Thread.sleep(20)
            }
            node.setHost("still-heard", PATIENCE)
            assertEquals("still-heard", told.next().record?.host)
            val others = LinkedBlockingQueue<Change>()
            val subscription = node.onChange(listener = others::put)
            others.next()
            subscription.cancel()
            subscription.cancel()
            node.setHost("not-heard", PATIENCE)
            told.next()
            assertEquals(0, others.size)
            node.close()
        }

    @Test
    fun `a node is open until it is closed, also when nobody holds it`() =
        patiently {
            val other = start()
            start(other.addrs().first())
            other.waitFor(2, timeout = PATIENCE)
            val left = LinkedBlockingQueue<Event>()
            other.onEvent { if (it is Event.PeerLeft) left.put(it) }
            repeat(10) {
                System.gc()
                Thread.sleep(50)
            }
            assertEquals(0, left.size)
            other.close()
        }

    @Test
    fun `log records are forwarded, the second set-up takes over, and a listener that throws goes on`() =
        patiently {
            forwardLogs(LogLevel.TRACE) { error("never told again") }
            val told = LinkedBlockingQueue<LogRecord>()
            forwardLogs(LogLevel.DEBUG) { records ->
                records.forEach(told::put)
                error("an exception that is to be survived")
            }
            repeat(2) {
                val node = start()
                // What it throws is logged.
                node.onChange { error("an exception that is to be logged") }
                val record = generateSequence { told.next() }.first { "that is to be logged" in it.message }
                assertTrue(record.target.startsWith("casm"), "$record")
                assertEquals(LogLevel.WARN, record.level)
                node.close()
            }
            forwardLogs(LogLevel.OFF) { }
        }

    @Test
    fun `the library is called directly, by a JNA whose own library fits pages of 16 KiB`() {
        // Mapped directly, a function of the library is a native method.
        for (type in listOf("UniffiLib", "IntegrityCheckingUniffiLib").map { Class.forName("casm.ffi.$it") }) {
            val (native, others) = type.declaredMethods.partition { Modifier.isNative(it.modifiers) }
            assertTrue(native.size > 50, "$type has ${native.size} of them")
            assertEquals(listOf(), others.map { it.name }.filter { "uniffi_casm" in it })
        }
        val version = Native.VERSION.split('.').map { it.toInt() }
        assertTrue(version[0] > 5 || version[0] == 5 && version[1] >= 17, Native.VERSION)
    }

    @Test
    fun `a collector that is slow holds up no listener and no other collector`() =
        patiently {
            val node = start()
            val topic = node.topic("t")
            val told = LinkedBlockingQueue<Int>()
            topic.onMessage(echo = true) { told.put(it.data[0].toInt()) }
            val stuck = CompletableDeferred<Unit>()
            val slow =
                launch(Dispatchers.Default) {
                    topic.messages(queue = 1, echo = true, buffer = 0).collect {
                        stuck.complete(Unit)
                        delay(PATIENCE)
                    }
                }
            while (!stuck.isCompleted) {
                topic.publish(byteArrayOf(1))
                told.next()
            }
            repeat(20) {
                topic.publish(byteArrayOf(2))
                assertEquals(2, told.next())
            }
            slow.cancel()
            slow.join()
            node.close()
        }

    @Test
    fun `what is printed of a key, a secret, a message and an answer tells no bytes of them`() {
        val key = Key.generate()
        assertEquals("Key(${key.peer})", key.toString())
        val digits = "6189c5cf0b87fb800c1a9feeda73c6ab5e998db48fb9e6a978575c770ceef683"
        val head = "/key/swarm/psk/1.0.0/\n/base16/\n"
        val secret = Secret.parse("$head$digits".bytes())
        assertEquals("Secret(45fc986bbc9388a11d939df26f730f0c)", secret.toString())
        assertTrue(secret.toString() in Config(secret = secret).toString())
        val cut = assertKind(CasmException.Kind.CONFIG) { Secret.parse("$head${digits.take(40)}".bytes()) }
        assertFalse(digits.take(8) in cut.message.orEmpty())
        assertFalse("104" in Message("a", 1, "h".bytes()).toString())
        assertEquals(Answer("h".bytes()), Answer("h".bytes()))
    }
}
