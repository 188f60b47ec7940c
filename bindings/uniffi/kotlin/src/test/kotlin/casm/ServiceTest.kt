package casm

import casm.ffi.CallOptions
import casm.ffi.CasmException
import casm.ffi.Node
import casm.ffi.Query
import casm.ffi.Request
import casm.ffi.ServiceHandler
import kotlin.concurrent.thread
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNull
import kotlin.test.assertTrue
import org.junit.jupiter.api.Test

private fun handler(answer: (Request) -> Unit) =
    object : ServiceHandler {
        override fun onRequest(request: Request) = answer(request)
    }

private fun Node.sees(service: String) =
    waitFor(1u, PATIENCE, Query(matching = "service:$service"))

class ServiceTest {
    @Test
    fun `a request is answered, later, in parts, or not`() {
        val server = start()
        val caller = start(server.addrs().single())
        caller.waitFor(2u, PATIENCE)
        val serving =
            server.serve("shout", handler { it.answer(it.data().decodeToString().uppercase().encodeToByteArray()) })
        server.serve("later", handler { request -> thread { request.answer(request.data(), mapOf("k" to "v")) } })
        server.serve("throws", handler { error("no luck") })
        server.serveStream(
            "count",
            handler { request ->
                thread {
                    repeat(10) { request.part(byteArrayOf(it.toByte()), PATIENCE) }
                    request.answer(byteArrayOf())
                }
            },
        )
        for (name in listOf("shout", "later", "throws", "count")) caller.sees(name)
        val shouted = caller.call("shout", "hello".encodeToByteArray())
        assertEquals("HELLO" to emptyMap(), shouted.data.decodeToString() to shouted.headers)
        val later = caller.call("later", "x".encodeToByteArray())
        assertEquals("x" to server.id(), later.data.decodeToString() to later.peer)
        assertEquals(mapOf("k" to "v"), later.headers)
        val failure = assertFailsWith<CasmException.Remote> { caller.call("throws", byteArrayOf()) }
        assertTrue("no luck" in failure.message!!, failure.message)

        val parts = caller.callStream("count", byteArrayOf())
        val read = generateSequence { parts.next(PATIENCE) }.map { it.single().toInt() }.toList()
        assertEquals((0..9).toList(), read)
        val replies = caller.callAll("shout", "a".encodeToByteArray())
        val reply = replies.next(PATIENCE)!!
        assertEquals(server.id() to "A", reply.peer to reply.data?.decodeToString())
        assertNull(replies.next(PATIENCE))
        assertEquals("all", replies.ended())
        assertEquals(mapOf("shout" to "1"), caller.view().get(server.id())!!.services.filterKeys { it == "shout" })
        assertEquals(2uL, server.serviceStats("shout").calls)

        serving.stop()
        val named = CallOptions(peer = server.id())
        assertFailsWith<CasmException.NotFound> { caller.call("shout", byteArrayOf(), named) }
        caller.leave(PATIENCE)
        server.leave(PATIENCE)
    }
}
