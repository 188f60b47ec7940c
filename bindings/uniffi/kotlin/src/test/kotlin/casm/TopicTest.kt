package casm

import casm.ffi.CasmException
import casm.ffi.Message
import casm.ffi.MessageListener
import casm.ffi.SubscribeOptions
import casm.ffi.TopicOptions
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import org.junit.jupiter.api.Test

class TopicTest {
    @Test
    fun `what is published is pulled and told`() {
        val first = start()
        val second = start(first.addrs().single())
        val topic = first.topic("news", TopicOptions(maxData = 100u))
        val theirs = second.topic("news")
        assertEquals(listOf(second.id()), topic.waitForPeers(1u, PATIENCE))
        val told = LinkedBlockingQueue<Message>()
        theirs.onMessage(
            object : MessageListener {
                override fun onMessage(message: Message) = told.put(message)
            },
        )
        val messages = theirs.subscribe(SubscribeOptions(queue = 8u, full = "drop_newest"))
        val data = "hello".encodeToByteArray()
        assertEquals(1u, topic.publish(data))
        val pulled = assertNotNull(messages.next(PATIENCE))
        assertEquals(first.id(), pulled.source)
        assertContentEquals(data, pulled.data)
        val heard = assertNotNull(told.poll(PATIENCE.toLong(), TimeUnit.SECONDS), "nothing comes")
        assertContentEquals(data, heard.data)
        assertFailsWith<CasmException.TooLarge> { topic.publish(ByteArray(101)) }
        assertFailsWith<CasmException.Config> { first.topic("a/b") }
        second.leave(PATIENCE)
        assertNull(messages.next(PATIENCE))
        first.leave(PATIENCE)
        assertFailsWith<CasmException.Closed> { topic.publish(data) }
    }
}
