package casm

import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout

/**
 * A member that does what others ask of it, for the tests across languages. Its likes are
 * python/tests/across.py, node/tests/across.mjs and bindings/examples/across.rs; what they
 * do is said in node/tests/languages.test.mjs.
 *
 *     casm.Across NAMESPACE ADDR…: says `here ID ADDR`, and ends with its standard input
 *
 * With `ACROSS_BOOT` it looks for others there, and they reach it at every address.
 */
object Across {
    private const val LANGUAGE = "kotlin"
    private const val PROTOCOL = "/across/1"

    @JvmStatic
    fun main(args: Array<String>) =
        runBlocking {
            val boot = System.getenv("ACROSS_BOOT")
            val listen = if (boot == null) "/ip4/127.0.0.1/tcp/0" else "/ip4/0.0.0.0/tcp/0"
            val config =
                Config(
                    namespace = args.first(),
                    listen = listOf(listen),
                    boot = listOf(boot ?: "none"),
                    meta = mapOf("language" to LANGUAGE),
                )
            Node.start(config, PATIENCE).use { node ->
                // What was said on the topic, and by whom.
                val heard = MutableStateFlow(mapOf<String, String>())
                node.topic("across").onMessage { message ->
                    heard.update { it + (message.data.decodeToString() to message.source) }
                }
                node.serveAnswers("do.$LANGUAGE") { request -> obey(node, heard, request) }
                node.serveStream("count.$LANGUAGE") { request ->
                    flow { repeat(request.data.decodeToString().toInt()) { emit("$it".bytes()) } }
                }
                node.onStream(PROTOCOL) { stream, _ ->
                    stream.write("$LANGUAGE:${stream.all().uppercase()}".bytes())
                }
                for (addr in args.drop(1)) node.connect(addr, timeout = PATIENCE)
                println("here ${node.id} ${node.addrs().first()}")
                System.`in`.readAllBytes()
            }
            Unit
        }

    private suspend fun obey(
        node: Node,
        heard: MutableStateFlow<Map<String, String>>,
        request: Request,
    ): Answer {
        val (what, name, text) = request.data.decodeToString().split("|", limit = 3) + listOf("", "")
        val said =
            when (what) {
                "call" ->
                    node.call(name, text.bytes(), headers = request.headers, timeout = PATIENCE, wait = true)
                        .data.decodeToString()
                "whose" -> {
                    val answer = node.call(name, "header|".bytes(), timeout = PATIENCE, wait = true)
                    "${answer.headers["language"]} ${answer.peer}"
                }
                "fail" -> error("no luck in $LANGUAGE")
                "header" -> request.headers[name].orEmpty()
                "parts" ->
                    node.callStream(name, text.bytes(), timeout = PATIENCE, wait = true)
                        .toList().joinToString(" ") { it.decodeToString() }
                "stream" -> exchange(node, name, text)
                "publish" -> "${node.topic(name).publish(text.bytes())}"
                "peers" -> "${node.topic(name).waitForPeers(text.toInt(), PATIENCE).size}"
                "see" ->
                    node.waitFor(text.toInt(), timeout = PATIENCE)
                        .map { "${it.meta["language"]}=${it.peer}" }.sorted().joinToString(" ")
                "heard" -> withTimeout(PATIENCE) { heard.first { text in it }.getValue(text) }
                else -> error("$what?")
            }
        return Answer("$LANGUAGE>$said".bytes(), mapOf("language" to LANGUAGE))
    }

    /** What a peer makes of a text that it is sent over a stream. */
    private suspend fun exchange(
        node: Node,
        peer: String,
        text: String,
    ): String =
        node.openStream(peer, PROTOCOL, PATIENCE).use { stream ->
            stream.write(text.bytes())
            stream.closeWrite()
            stream.all()
        }

    private suspend fun ByteStream.all(): String =
        pieces().toList().fold(ByteArray(0)) { all, piece -> all + piece }.decodeToString()
}
