package casm

import casm.CasmException.Kind
import kotlin.test.assertEquals
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue
import org.junit.jupiter.api.Test

/** Whom a node takes. */
class AdmissionTest {
    /** Waits until a peer has left and is disconnected. */
    private suspend fun Items<Event>.putOut(peer: String) {
        var (left, disconnected) = false to false
        while (!left || !disconnected) {
            when (val event = assertNotNull(next(PATIENCE))) {
                is Event.PeerLeft ->
                    if (event.peer == peer) {
                        assertEquals(LeaveReason.LEFT, event.reason)
                        left = true
                    }
                is Event.Disconnected -> disconnected = disconnected || event.peer == peer
                else -> continue
            }
        }
    }

    @Test
    fun `a denied peer leaves the view and comes back when it is taken again`() =
        patiently {
            val (here, there) = pair()
            val events = here.eventItems()
            here.deny(there.id)
            events.putOut(there.id)
            assertEquals(1, here.view().size)
            assertEquals(listOf(there.id), here.denied())
            val refused = assertKind(Kind.UNREACHABLE) { here.connect(there.addrs().first(), timeout = PATIENCE) }
            assertTrue(there.id in refused.message.orEmpty(), refused.message)
            here.undeny(listOf(there.id))
            assertNotNull(here.waitFor(2, timeout = PATIENCE)[there.id])
            assertEquals(listOf(), here.denied())
            events.close()
            here.close()
            there.close()
        }

    @Test
    fun `who is not allowed is put out and comes back`() =
        patiently {
            val (here, there) = pair()
            assertNull(here.allowed())
            val events = here.eventItems()
            here.setAllowed(listOf())
            events.putOut(there.id)
            assertEquals(listOf(), here.allowed())
            here.allow(setOf(there.id))
            here.waitFor(2, timeout = PATIENCE)
            assertEquals(listOf(there.id), here.allowed())
            here.disallow(there.id)
            // Nobody, which is not everybody.
            assertEquals(listOf(), here.allowed())
            here.allowAll()
            assertNull(here.allowed())
            events.close()
            here.close()
            there.close()
        }

    @Test
    fun `the lists of a start, and after a close none`() =
        patiently {
            val (x, y) = Key.generate().peer to Key.generate().peer
            val key = Key.generate()
            val own = assertKind(Kind.CONFIG) { Node.start(loopback().copy(key = key, deny = listOf(y, key.peer)), PATIENCE) }
            assertTrue(key.peer in own.message.orEmpty(), own.message)
            val other = start()
            val node = Node.start(loopback().copy(allow = listOf(x), deny = listOf(y)), PATIENCE)
            assertEquals(listOf(x) to listOf(y), node.allowed() to node.denied())
            assertKind(Kind.UNREACHABLE) { node.connect(other.addrs().first(), timeout = PATIENCE) }
            node.setDenied(listOf(x))
            assertEquals(listOf(x), node.denied())
            node.close()
            other.close()
            val calls =
                listOf<() -> Any?>(
                    { node.allow(x) },
                    { node.disallow(x) },
                    { node.allowAll() },
                    { node.setAllowed(listOf()) },
                    { node.allowed() },
                    { node.deny(x) },
                    { node.undeny(x) },
                    { node.setDenied(listOf()) },
                    { node.denied() },
                    { node.renew(ByteArray(0)) },
                    { node.revoke(ByteArray(0)) },
                )
            for (call in calls + calls) assertKind(Kind.CLOSED) { call() }
        }
}
