package casm

import java.lang.reflect.Modifier
import java.util.concurrent.CompletableFuture
import kotlin.coroutines.Continuation
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import org.junit.jupiter.api.Test

/** Kotlin and Java have all that every language has. */
class ParityTest {
    private val other = Table.other("kotlin")

    /** A name of the table, as it is here. */
    private fun here(name: String): String =
        other[name] ?: name.split('_').joinToString("") { it.replaceFirstChar(Char::uppercase) }.replaceFirstChar(Char::lowercase)

    private class Member(
        val name: String,
        val suspends: Boolean,
        val future: Boolean,
        val forJava: Boolean,
    )

    /** What can be called on an object: properties by their names. */
    private fun members(type: Class<*>): List<Member> =
        type.methods.filter { Modifier.isPublic(it.modifiers) }.flatMap { method ->
            // A time in the signature has the compiler append something.
            val plain = method.name.substringBefore('-').removeSuffix("\$default")
            val name =
                Regex("^(?:get|is)([A-Z].*)$").find(plain)?.groupValues?.get(1)?.replaceFirstChar(Char::lowercase)
            listOfNotNull(name, plain).map {
                Member(
                    it,
                    suspends = method.parameterTypes.lastOrNull() == Continuation::class.java,
                    future = method.returnType == CompletableFuture::class.java,
                    forJava = !method.isSynthetic,
                )
            }
        }

    private fun check(
        section: String,
        vararg types: Class<*>,
        also: (String) -> Boolean = { false },
    ) {
        val members = types.flatMap(::members)
        val missing =
            Table.names(section).map(::here).filterNot { name -> also(name) || members.any { it.name == name } }
        assertEquals(listOf(), missing, "${types.map { it.simpleName }} lacks of [$section]")
    }

    @Test
    fun `every call, value, stream and callback of the table is here`() {
        check("node", Node::class.java)
        check("view", View::class.java)
        check("remote_view", RemoteView::class.java)
        check("channel", Channel::class.java)
        check("job", Job::class.java)
        check("semaphore", Semaphore::class.java)
        check("lease", Lease::class.java)
        check("topic", Topic::class.java)
        check("message", Message::class.java)
        check("record", Record::class.java)
        check("peer_status", PeerStatus::class.java)
        check("key", Key::class.java, Key.Companion::class.java)
        check("byte_stream", ByteStream::class.java)
        check("subscription", Subscription::class.java)
        check("request", Request::class.java)
        check("answer", Answer::class.java)
        check("serving", Serving::class.java)
        check("peer_reply", PeerReply::class.java)
        check("service_stats", ServiceStats::class.java)
        check("stream", Items::class.java)
        check("module", Class.forName("casm.Casm"))
    }

    @Test
    fun `Java has the same, without a trace of Kotlin`() {
        check("node", NodeJava::class.java)
        val visible =
            listOf(
                NodeJava::class.java, Topic::class.java, Channel::class.java, Job::class.java, Semaphore::class.java,
                Lease::class.java, ByteStream::class.java, View::class.java, RemoteView::class.java, Items::class.java,
                Request::class.java, Record::class.java, PeerStatus::class.java, ServiceStats::class.java,
                Class.forName("casm.Casm"),
            )
        for (type in visible) {
            val kotlin =
                type.declaredMethods
                    .filter { Modifier.isPublic(it.modifiers) && !it.isSynthetic && '$' !in it.name }
                    .filter { method ->
                        val types = method.parameterTypes + method.returnType
                        '-' in method.name ||
                            types.any { it.name.startsWith("kotlin.") && it != Unit::class.java || it.name.startsWith("kotlinx.") }
                    }
                    // Of data classes: Java has no way to write these names.
                    .filterNot { it.name.startsWith("component") || it.name.startsWith("copy-") }
            assertEquals(listOf(), kotlin.map { "${type.simpleName}.${it.name}" })
        }
    }

    @Test
    fun `what waits is a suspend function, and in Java waits for its thread or is a future`() {
        val waiting =
            mapOf(
                "node" to Node::class.java, "remote_view" to RemoteView::class.java, "channel" to Channel::class.java,
                "job" to Job::class.java, "semaphore" to Semaphore::class.java, "lease" to Lease::class.java,
                "topic" to Topic::class.java, "byte_stream" to ByteStream::class.java,
                "module" to Class.forName("casm.Casm"),
            )
        for ((section, type) in waiting) {
            val members = members(type)
            val java = members(if (section == "node") NodeJava::class.java else type).filter { it.forJava && !it.suspends }
            for (name in Table.strings(section, "waits").map(::here)) {
                assertTrue(members.any { it.name == name && it.suspends }, "$section: $name does not suspend")
                assertTrue(java.any { it.name == name }, "$section: $name is not there for Java")
            }
        }
        for (name in listOf("waitFor", "viewOf", "connect", "openStream", "call")) {
            assertTrue(members(NodeJava::class.java).any { it.name == "${name}Async" && it.future }, name)
        }
    }

    @Test
    fun `every option of the table is here`() {
        fun fields(type: Class<*>) = type.declaredFields.map { it.name }.toSet()

        fun options(key: String) = Table.strings("options", key).map(::here).toSet()
        assertEquals(options("node"), fields(Config::class.java) - "Companion")
        assertEquals(options("node"), Config.Builder::class.java.methods.map { it.name }.toSet().intersect(options("node")))
        assertEquals(options("limits"), fields(Limits::class.java))
        assertEquals(options("rpc_limits"), fields(RpcLimits::class.java))
        assertEquals(options("table_limits"), fields(TableLimits::class.java))
        assertEquals(options("query"), fields(Query::class.java) - "Companion")
        assertEquals(options("serve"), fields(ServeOptions::class.java))
        assertEquals(options("call") + options("call_all"), fields(CallOptions::class.java))
        val named = Parameters.of(Node::class.java, Node.Companion::class.java, Topic::class.java, NodeJava::class.java)
        for (call in listOf("start", "find_peers", "topic", "messages", "serve", "call", "call_all")) {
            val missing = options(call) - named
            assertEquals(setOf(), missing, "no call takes them: of $call")
        }
    }

    @Test
    fun `every event and change of the table is here`() {
        fun nested(type: Class<*>) = type.declaredClasses.map { it.simpleName }.toSet() - "Companion"
        assertEquals(Table.strings("events", "names").toSet(), nested(Event::class.java))
        val kinds = Table.strings("changes", "kinds").map { it.replaceFirstChar(Char::uppercase) }
        assertEquals(kinds.toSet(), nested(Change::class.java))
    }

    /** The names of parameters, as the compiler keeps them for Kotlin. */
    private object Parameters {
        fun of(vararg types: Class<*>): Set<String> {
            val kept = types.mapNotNull { it.getAnnotation(Metadata::class.java) }
            return kept.flatMap { it.data2.toList() }.toSet()
        }
    }
}
