package casm

import casm.ffi.CasmException
import casm.ffi.select
import kotlin.concurrent.thread
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertTrue
import org.junit.jupiter.api.Test

private fun String.bytes() = encodeToByteArray()

class ChannelTest {
    @Test
    fun `values, jobs, a select and a lease go from node to node`() {
        val here = start()
        val there = start(here.addrs().single())
        there.waitFor(2u, PATIENCE)
        val own = here.channel("jobs", 4u, false)
        val jobs = there.openChannel("jobs", here.id(), PATIENCE)
        jobs.send("1".bytes(), PATIENCE)
        assertEquals("1", own.recv(PATIENCE).decodeToString())
        assertFailsWith<CasmException.Timeout> { jobs.recv(0.05) }

        own.send("2".bytes(), PATIENCE)
        jobs.take(PATIENCE).giveBack(PATIENCE)
        val job = jobs.take(PATIENCE)
        assertEquals("2", job.data().decodeToString())
        job.done(PATIENCE)

        val hand = there.channel("hand", 0u, false)
        val sending = thread { hand.send("3".bytes(), PATIENCE) }
        val selected = select(listOf(jobs.receiving(), hand.receiving()), PATIENCE)
        assertEquals("3", selected.value?.decodeToString())
        assertEquals(1u, selected.index)
        sending.join()

        here.semaphore("leader", 1u, PATIENCE)
        val leader = there.openSemaphore("leader", here.id(), PATIENCE)
        val lease = leader.acquire(PATIENCE)
        assertFailsWith<CasmException.Timeout> { leader.acquire(0.05) }
        lease.release()
        assertTrue(leader.acquire(PATIENCE).token() > lease.token())

        own.end(PATIENCE)
        assertFailsWith<CasmException.Closed> { jobs.recv(PATIENCE) }
        there.leave(PATIENCE)
        here.leave(PATIENCE)
    }
}
