package casm

import kotlin.test.assertEquals
import kotlin.test.assertNotNull
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.seconds
import org.junit.jupiter.api.Test

/** Whether others can reach a node, and relays. */
class ReachTest {
    @Test
    fun `who announces an address is public, and of others nothing is known`() =
        patiently {
            val addr = "/ip4/203.0.113.7/tcp/4001"
            val node = Node.start(loopback().copy(announce = listOf(addr)), PATIENCE)
            assertEquals(Reachability("public", listOf(ReachableAddr(addr, "announced"))), node.reachability())
            val fresh = Node.start(loopback(), PATIENCE)
            assertEquals(Reachability("unknown", listOf()), fresh.reachability())
            node.close()
            fresh.close()
        }

    @Test
    fun `a peer is reached over a relay, unless it uses none`() =
        patiently {
            val limits = RelayLimits(reservations = 2, circuits = 4, circuitBytes = 1L shl 32, circuitTime = 3600.seconds)
            val config = Config.builder().relay(true).relayLimits(limits).build()
            val made = loopback().copy(relay = config.relay, relayLimits = config.relayLimits)
            val relay = Node.start(made, PATIENCE)
            // The relay knows no address at which it reaches these: they come to it over TCP,
            // and listen on QUIC alone. Each is in another namespace: they don't hear of each
            // other, nor meet over QUIC.
            val hidden = loopback().copy(listen = listOf("/ip4/127.0.0.1/udp/0/quic-v1"))
            val alone = Node.start(hidden.copy(namespace = "alone", useRelays = false, upnp = false), PATIENCE)
            val node = Node.start(hidden, PATIENCE)
            val other = Node.start(loopback().copy(namespace = "other"), PATIENCE)
            val (changes, events) = node.eventItems() to other.eventItems()
            for (one in listOf(alone, node)) assertEquals(relay.id, one.connect(relay.addrs().first(), timeout = PATIENCE))
            var over: String? = null
            while (over == null) {
                val event = assertNotNull(changes.next(PATIENCE), "the events ended")
                val known = (event as? Event.ReachabilityChanged)?.reachability ?: continue
                over = known.addrs.firstOrNull { it.found == "relay" }?.addr
                if (over != null) assertEquals("private", known.reach)
            }
            assertTrue(over.endsWith("/p2p/${relay.id}/p2p-circuit"), over)
            assertEquals(node.id, other.connect("$over/p2p/${node.id}", timeout = PATIENCE))
            do {
                val event = assertNotNull(events.next(PATIENCE), "the events ended")
            } while (event != Event.Relayed(node.id))
            // It was there before, and asked for nothing.
            assertEquals(listOf(), alone.reachability().addrs)
            for (items in listOf(changes, events)) items.close()
            for (one in listOf(relay, alone, node, other)) one.close()
        }
}
