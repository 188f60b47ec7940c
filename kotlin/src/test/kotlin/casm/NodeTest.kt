package casm

import java.nio.file.Files
import java.util.concurrent.LinkedBlockingQueue
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertIs
import kotlin.test.assertNotEquals
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.async
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.toList
import org.junit.jupiter.api.Test

class NodeTest {
    @Test
    fun `a listener that is given at the start is told the first event`() =
        patiently {
            val events = LinkedBlockingQueue<Event>()
            Node.start(loopback(), PATIENCE, events::put).use { node ->
                val first = assertIs<Event.Listening>(events.next())
                assertEquals(node.id, first.peer)
                assertEquals(node.addrs(), first.addrs)
                assertEquals(node.id, node.info().id)
            }
        }

    @Test
    fun `views, a query, a live query, another view, close`() =
        patiently {
            val first = start(meta = mapOf("role" to "boss"))
            val joined = LinkedBlockingQueue<Change>()
            first.onChange(Query.matching(Index.meta("role", "worker")), joined::put)
            val second = start(first.addrs().first(), mapOf("role" to "worker"))
            val view = second.waitFor(2, timeout = PATIENCE)
            first.waitFor(2, timeout = PATIENCE)
            assertEquals(2, view.size)
            assertEquals(view.map { it.peer }.toSet(), setOf(first.id, second.id))
            assertEquals(first.id, view.lookup(Query.matching("meta:role=boss"))?.peer)
            val found = view.iter(Query.prefix(Index.meta("role")).limit(5))
            assertEquals(listOf("boss", "worker"), found.map { it.meta["role"] })
            assertEquals(1, view.count(Query.all().limit(1).reversed()))
            val record = assertNotNull(view[second.id])
            assertEquals(second.id, record.peer)
            assertEquals(10.seconds, record.ttl)
            assertEquals(second.id, view.lookup(Query.matching(Index.server(record.server)))?.peer)
            assertTrue(record.verified)
            assertEquals("worker", assertIs<Change.Joined>(joined.next()).record.meta["role"])

            second.viewOf(first.id, PATIENCE).use { remote ->
                assertEquals(first.id, remote.peer)
                assertEquals(2, remote.count(timeout = PATIENCE))
                assertEquals(setOf(first.id, second.id), remote.records().toList().map { it.peer }.toSet())
                assertEquals(first.id, remote.lookup(Query.matching("meta:role=boss"), PATIENCE)?.peer)
                assertEquals(second.id, remote.get(second.id, PATIENCE)?.peer)
            }
            second.setMeta(mapOf("role" to "worker", "load" to "1"), PATIENCE)
            assertEquals("1", assertIs<Change.Updated>(joined.next()).record.meta["load"])
            second.updateMeta(mapOf("load" to null, "zone" to "eu"), PATIENCE)
            assertEquals(setOf("role", "zone"), joined.next().record?.meta?.keys)
            second.setHost("elsewhere", PATIENCE)
            assertEquals("elsewhere", joined.next().record?.host)
            second.setTtl(20.seconds, PATIENCE)
            // Another TTL alone is no change, and the view has it.
            until("the view has the TTL") { first.view()[second.id]?.ttl == 20.seconds }
            assertEquals(second.id, first.connect(record, PATIENCE))
            assertEquals(listOf(second.id), first.connected())
            assertNotNull(first.peerStatus(second.id))
            assertTrue("casm_" in first.metrics())
            assertTrue(first.metricsSnapshot().isNotEmpty())
            first.advertise("other", 10.seconds, PATIENCE)

            // Others see a node leave at once.
            second.close()
            assertIs<Change.Left>(joined.next())
            first.close()
        }

    @Test
    fun `the TTL is adapted to a budget unless the pace is fixed`() =
        patiently {
            val alone = loopback().copy(ttl = 1.seconds)
            // One heartbeat in a second, of a node that sends one after 0.3 of its TTL.
            val builder = Config.builder().budget(1)
            val ttls = listOf(builder.build(), builder.pace("fixed").build(), Config())
            val found = ttls.map { given ->
                val node = Node.start(alone.copy(budget = given.budget, pace = given.pace), PATIENCE)
                node.use { it.view()[it.id]?.ttl }
            }
            assertEquals(listOf(3334.milliseconds, 1.seconds, 1.seconds), found)
        }

    @Test
    fun `the number of a server is sought with all its digits, as records have it`() {
        assertEquals("server:0000000000000abc", "${Index.server(0xabc)}")
        assertEquals("server:ffffffffffffffff", "${Index.server(-1)}")
    }

    @Test
    fun `events and changes are flows, and end with their node`() =
        patiently {
            val node = start()
            val begun = CompletableDeferred<Unit>()
            val changes =
                async {
                    val seen = mutableListOf<Change>()
                    node.subscribe().collect {
                        seen += it
                        begun.complete(Unit)
                    }
                    seen
                }
            begun.await()
            val event = async { node.events().first { it is Event.PeerUpdated } }
            val items = node.eventItems()
            val other = start(node.addrs().first())
            // It is heard from when the flow has begun.
            var many = 0
            while (!event.isCompleted) {
                other.setHost("host-${many++}", PATIENCE)
                delay(10)
            }
            assertEquals(other.id, assertIs<Event.PeerUpdated>(event.await()).record.peer)
            while (items.next(PATIENCE) !is Event.PeerJoined) continue
            assertEquals(0, items.dropped)
            other.close()
            node.close()
            while (items.next(PATIENCE) != null) continue
            assertNull(items.next())
            items.close()
            assertNull(items.next())
            val seen = changes.await()
            assertIs<Change.Current>(seen.first())
            assertEquals(other.id, seen.filterIsInstance<Change.Joined>().single().record.peer)
        }

    @Test
    fun `peers are found, and a search ends`() =
        patiently {
            val there = start()
            val here = start(there.addrs().first())
            val found = here.findPeers(limit = 1, timeout = PATIENCE).first()
            assertEquals(there.id, found.peer.id)
            here.close()
            there.close()
            start().use { alone -> assertEquals(listOf(), alone.findPeers(timeout = 50.milliseconds).toList()) }
        }

    @Test
    fun `a node is paused and resumed`() =
        patiently {
            val (here, there) = pair()
            here.pause(PATIENCE)
            assertTrue(here.isPaused)
            assertEquals(listOf(), here.addrs())
            assertKind(CasmException.Kind.PAUSED) { here.connect(there.id, timeout = PATIENCE) }
            here.resume(PATIENCE)
            assertFalse(here.isPaused)
            there.waitFor(2, timeout = PATIENCE)
            here.close()
            there.close()
        }

    @Test
    fun `a key gives a node its id`() =
        patiently {
            val folder = Files.createTempDirectory("casm")
            val file = folder.resolve("key").toString()
            val key = Key.generate()
            key.save(file)
            assertEquals(key, Key.load(file))
            Node.start(loopback().copy(key = key), PATIENCE).use { assertEquals(key.peer, it.id) }
            assertKind(CasmException.Kind.CONFIG) { key.save(file) }
            folder.toFile().deleteRecursively()
        }

    @Test
    fun `who holds the secret is in and nobody else, also after a pause`() =
        patiently {
            val folder = Files.createTempDirectory("casm")
            val file = folder.resolve("swarm.key")
            val made = Secret.generate()
            made.save(file.toString())
            val read = Secret.parse(Files.readAllBytes(file))
            assertEquals(made, read)
            assertNotEquals(made, Secret.generate())
            assertKind(CasmException.Kind.CONFIG) { made.save(file.toString()) }

            suspend fun of(secret: Secret?) = Node.start(loopback().copy(secret = secret), PATIENCE)
            val member = of(read)
            val other = of(Secret.load(file.toString()))
            val strangers = listOf(of(null), of(Secret.generate()))
            repeat(2) {
                assertEquals(member.id, other.connect(member.addrs().first(), timeout = PATIENCE))
                other.waitFor(2, timeout = PATIENCE)
                for (stranger in strangers) {
                    assertKind(CasmException.Kind.UNREACHABLE) {
                        stranger.connect(member.addrs().first(), timeout = PATIENCE)
                    }
                    assertEquals(1, stranger.view().size)
                }
                member.pause(PATIENCE)
                member.resume(PATIENCE)
            }
            (strangers + other + member).forEach { it.close() }
            folder.toFile().deleteRecursively()
        }
}
