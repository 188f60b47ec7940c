package casm

import casm.ffi.ByteStream
import casm.ffi.CasmException
import casm.ffi.Change
import casm.ffi.ChangeListener
import casm.ffi.Config
import casm.ffi.Event
import casm.ffi.EventListener
import casm.ffi.FindOptions
import casm.ffi.Key
import casm.ffi.Node
import casm.ffi.Query
import casm.ffi.StreamListener
import java.nio.file.Files
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue
import org.junit.jupiter.api.Test

/** Seconds that anything may take. */
internal const val PATIENCE = 60.0

/** A node that listens on the loopback interface only. */
internal fun start(boot: String = "none", meta: Map<String, String> = mapOf()) =
    Node.start(
        Config(listen = listOf("/ip4/127.0.0.1/tcp/0"), boot = listOf(boot), meta = meta),
        PATIENCE,
    )

private fun <T> LinkedBlockingQueue<T>.next(): T =
    assertNotNull(poll(PATIENCE.toLong(), TimeUnit.SECONDS), "nothing comes")

class NodeTest {
    @Test
    fun `a listener that is given at the start is told the first event`() {
        val events = LinkedBlockingQueue<Event>()
        val listener =
            object : EventListener {
                override fun onEvent(event: Event) = events.put(event)
            }
        val config = Config(listen = listOf("/ip4/127.0.0.1/tcp/0"), boot = listOf("none"))
        val node = Node.start(config, PATIENCE, listener)
        val first = events.next() as Event.Listening
        assertEquals(node.id(), first.peer)
        assertEquals(node.addrs(), first.addrs)
        node.leave(PATIENCE)
    }

    @Test
    fun `a stream carries bytes both ways`() {
        val (a, b) = start() to start()
        val streams = LinkedBlockingQueue<Pair<ByteStream, String>>()
        b.onStream(
            "/x/1",
            object : StreamListener {
                override fun onStream(stream: ByteStream, peer: String) = streams.put(stream to peer)
            },
        )
        val here = a.openStream(b.addrs(), "/x/1", PATIENCE)
        val (there, peer) = streams.next()
        assertEquals(a.id(), peer)
        here.write("hello".toByteArray(), PATIENCE)
        here.closeWrite(PATIENCE)
        assertEquals("hello", there.read(100u, PATIENCE).decodeToString())
        assertEquals(0, there.read(100u, PATIENCE).size)
        there.write("bye".toByteArray(), PATIENCE)
        there.end(PATIENCE)
        assertEquals("bye", here.read(100u, PATIENCE).decodeToString())
        here.reset()
        assertFailsWith<CasmException.Closed> { here.read(1u, PATIENCE) }
        a.leave(PATIENCE)
        b.leave(PATIENCE)
    }

    @Test
    fun `start, events, a query, a live query, another view, close`() {
        val first = start(meta = mapOf("role" to "boss"))
        val events = LinkedBlockingQueue<Event>()
        val changes = LinkedBlockingQueue<Change>()
        first.onEvent(
            object : EventListener {
                override fun onEvent(event: Event) = events.put(event)
            },
        )
        first.onChange(
            Query(matching = "meta:role=worker"),
            object : ChangeListener {
                override fun onChange(change: Change) = changes.put(change)
            },
        )

        val second = start(first.addrs().single(), mapOf("role" to "worker"))
        val view = second.waitFor(2u, PATIENCE)
        first.waitFor(2u, PATIENCE)
        assertEquals(2u, view.len())
        assertEquals(first.id(), view.lookup(Query(matching = "meta:role=boss"))?.peer)
        val found = view.iter(Query(matching = "meta:role=", prefix = true, limit = 5u))
        assertEquals(listOf("boss", "worker"), found.map { it.meta["role"] })
        assertEquals(1u, view.count(Query(limit = 1u, reverse = true)))
        assertEquals(second.id(), view.get(second.id())?.peer)

        var event = events.next()
        while (event !is Event.PeerJoined || event.record.peer != second.id()) event = events.next()
        val joined = changes.next() as Change.Joined
        assertEquals("worker", joined.record.meta["role"])

        second.viewOf(first.id(), PATIENCE).use { remote ->
            assertEquals(first.id(), remote.peer())
            assertEquals(2u, remote.count(Query(), PATIENCE))
            remote.iter().use { records ->
                val peers = generateSequence { records.next(PATIENCE) }.map { it.peer }.toSet()
                assertEquals(setOf(first.id(), second.id()), peers)
            }
        }
        second.setMeta(mapOf("role" to "worker", "load" to "1"), PATIENCE)
        assertEquals("1", (changes.next() as Change.Updated).record.meta["load"])
        second.updateMeta(mapOf("load" to null, "zone" to "eu"), PATIENCE)
        assertEquals(setOf("role", "zone"), (changes.next() as Change.Updated).record.meta.keys)
        assertEquals(1u, second.waitFor(1u, PATIENCE, Query(matching = "meta:zone=eu")).count(Query(matching = "meta:zone=eu")))
        assertTrue(first.metricsSnapshot().isNotEmpty())

        // Others see a node leave at once.
        second.leave(PATIENCE)
        assertTrue(changes.next() is Change.Left)
        second.leave(PATIENCE)
        assertTrue(second.closed())
        assertFailsWith<CasmException.Closed> { second.view() }
        assertFailsWith<CasmException.Closed> { second.waitFor(1u) }
        first.leave(PATIENCE)
    }

    @Test
    fun `a listener that throws is counted and told the next event`() {
        val node = start()
        val calls = AtomicInteger()
        val told = LinkedBlockingQueue<Change>()
        val subscription =
            node.onChange(
                Query(),
                object : ChangeListener {
                    override fun onChange(change: Change) {
                        if (calls.getAndIncrement() == 0) error("an exception that is to be counted")
                        told.put(change)
                    }
                },
            )
        node.waitFor(1u, PATIENCE)
        node.setHost("first", PATIENCE)
        node.setHost("second", PATIENCE)
        told.next()
        assertEquals(1uL, subscription.failed())
        subscription.cancel()
        node.leave(PATIENCE)
    }

    @Test
    fun `a node closes from inside its listener`() {
        val node = start()
        val done = LinkedBlockingQueue<Boolean>()
        node.onChange(
            Query(),
            object : ChangeListener {
                override fun onChange(change: Change) {
                    node.leave(PATIENCE)
                    done.put(node.closed())
                }
            },
        )
        assertTrue(done.next())
    }

    @Test
    fun `streams end with their node`() {
        val node = start()
        val events = node.events()
        val changes = node.subscribe()
        node.findPeers(FindOptions(limit = 1u, timeout = 1.0)).use { assertNull(it.next(PATIENCE)) }
        assertTrue(changes.next(PATIENCE) is Change)
        assertFailsWith<CasmException.Timeout> { while (true) events.next(0.05) }
        node.leave(PATIENCE)
        while (events.next(PATIENCE) != null) continue
        assertNull(events.next(PATIENCE))
        while (changes.next(PATIENCE) != null) continue
        assertEquals(0uL, events.dropped())
    }

    @Test
    fun `what is wrong is named by kind and value`() {
        for ((said, config) in
            mapOf(
                "a b" to Config(namespace = "a b"),
                "-1" to Config(ttl = -1.0),
                "NaN" to Config(pexTick = Double.NaN),
            )) {
            val error = assertFailsWith<CasmException.Config> { Node.start(config) }
            assertTrue(said in error.message!!, error.message)
        }
        assertFailsWith<CasmException.Address> {
            Node.start(Config(boot = listOf("nonsense"), listen = listOf("nonsense")))
        }
        val node = start()
        assertFailsWith<CasmException.Timeout> { node.waitFor(100u, 0.01) }
        assertFailsWith<CasmException.Config> { node.waitFor(100u, -1.0) }
        assertFailsWith<CasmException.Address> { node.view().get("nonsense") }
        assertFailsWith<CasmException.Invalid> { node.view().iter(Query(prefix = true)) }
        node.leave(PATIENCE)
    }

    @Test
    fun `a key gives a node its id`() {
        val folder = Files.createTempDirectory("casm")
        val file = folder.resolve("key").toString()
        Key.generate().use { key ->
            key.save(file)
            val node = Node.start(Config(listen = listOf("/ip4/127.0.0.1/tcp/0"), boot = listOf("none"), key = key))
            assertEquals(key.peer(), node.id())
            assertEquals(key.peer(), Key.load(file).peer())
            node.leave(PATIENCE)
        }
        folder.toFile().deleteRecursively()
    }
}
