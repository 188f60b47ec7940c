package casm

import kotlin.test.assertEquals
import kotlin.test.assertNotNull
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
    fun `a relay, and one that uses none, connect as any node does`() =
        patiently {
            val limits = RelayLimits(reservations = 2, circuits = 4, circuitBytes = 1L shl 32, circuitTime = 60.seconds)
            val config = Config.builder().relay(true).relayLimits(limits).build()
            val made = loopback().copy(relay = config.relay, relayLimits = config.relayLimits)
            val relay = Node.start(made, PATIENCE)
            val node = Node.start(loopback().copy(useRelays = false, upnp = false), PATIENCE)
            assertEquals(relay.id, node.connect(relay.addrs().first(), timeout = PATIENCE))
            assertNotNull(node.waitFor(2, timeout = PATIENCE)[relay.id])
            node.close()
            relay.close()
        }
}
