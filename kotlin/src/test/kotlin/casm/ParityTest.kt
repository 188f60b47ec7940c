package casm

import java.io.File
import java.lang.reflect.Method
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
    )

    /** What can be called on an object: properties by their names. */
    private fun members(type: Class<*>): List<Member> =
        type.methods.filter { Modifier.isPublic(it.modifiers) }.flatMap { method ->
            // A time in the signature has the compiler append something.
            val plain = method.name.substringBefore('-').removeSuffix("\$default")
            val name =
                Regex("^(?:get|is)([A-Z].*)$").find(plain)?.groupValues?.get(1)?.replaceFirstChar(Char::lowercase)
            listOfNotNull(name, plain).map {
                Member(it, suspends = method.parameterTypes.lastOrNull() == Continuation::class.java)
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
        check("reachability", Reachability::class.java)
        check("reachable_addr", ReachableAddr::class.java)
        check("key", Key::class.java, Key.Companion::class.java)
        check("secret", Secret::class.java, Secret.Companion::class.java)
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

    /** The public classes, as the sources have them: what is internal is public to the JVM, too. */
    private fun published(): List<Class<*>> {
        val declared = Regex("""^( *)public (?:\w+ )*?(?:class|interface|object) (\w+)""", RegexOption.MULTILINE)
        val sources = checkNotNull(File("src/main/kotlin/casm").listFiles()) { "the sources are not here" }
        val found = sources.flatMap { declared.findAll(it.readText()).map { found -> found.groupValues } }
        val names = found.map { it[2] }.toSet()

        fun nested(type: Class<*>): List<Class<*>> =
            type.declaredClasses.filter { it.simpleName in names }.flatMap { listOf(it) + nested(it) }
        return found.filter { it[1].isEmpty() }.map { Class.forName("casm.${it[2]}") }.flatMap { listOf(it) + nested(it) }
    }

    @Test
    fun `Java has the same, without a trace of Kotlin`() {
        check("node", NodeJava::class.java)
        // In Java a node is a NodeJava.
        val visible = published() - Node::class.java + Class.forName("casm.Casm")
        val known = listOf(ByteStream::class.java, Event.PeerLeft::class.java, CasmException.Kind::class.java, Full::class.java)
        assertEquals(listOf(), known - visible.toSet(), "they are public")
        for (type in visible) {
            val kotlin =
                type.declaredMethods
                    .filter { Modifier.isPublic(it.modifiers) && !it.isSynthetic && '$' !in it.name }
                    .filter { method ->
                        // With the arguments of generic types.
                        val types = method.genericParameterTypes + method.genericReturnType
                        '-' in method.name || types.any { "kotlin." in it.typeName || "kotlinx." in it.typeName }
                    }
                    // Of data classes and enumerations: the compiler makes them.
                    .filterNot { it.name.startsWith("component") || it.name.startsWith("copy-") || it.name == "getEntries" }
            assertEquals(listOf(), kotlin.map { "${type.simpleName}.${it.name}: ${it.genericReturnType}" })
        }
    }

    @Test
    fun `what waits is a suspend function, and in Java waits for its thread or is a future`() {
        val waiting =
            mapOf(
                "node" to Node::class.java, "remote_view" to RemoteView::class.java, "channel" to Channel::class.java,
                "job" to Job::class.java, "semaphore" to Semaphore::class.java, "lease" to Lease::class.java,
                "topic" to Topic::class.java, "byte_stream" to ByteStream::class.java,
                "module" to Class.forName("casm.Casm"), "stream" to Items::class.java,
            )
        assertEquals(Table.sections("waits") + "stream", waiting.keys, "every section that has some")
        for ((section, type) in waiting) {
            val java = (if (section == "node") NodeJava::class.java else type).methods.filter { !it.isSynthetic }
            val names = if (section == "stream") listOf("next") else Table.strings(section, "waits").map(::here)
            for (name in names) {
                assertTrue(members(type).any { it.name == name && it.suspends }, "$section: $name does not suspend")
                val blocking = java.filter { it.name == name && it.parameterTypes.lastOrNull() != Continuation::class.java }
                assertTrue(blocking.any { it.returnType != CompletableFuture::class.java }, "$section: $name is not there for Java")
                val futures = java.filter { it.name == "${name}Async" && it.returnType == CompletableFuture::class.java }
                assertTrue(futures.isNotEmpty(), "$section: $name gives no future")
                // With everything that the other form takes, a record in place of an id too.
                fun taken(methods: List<Method>) = methods.map { it.parameterTypes.toList() }.toSet()
                // To close at once needs no time, and is no wait.
                val missing = taken(blocking) - taken(futures)
                assertEquals(setOf(), missing, "$section: ${name}Async doesn't take them")
            }
        }
    }

    /**
     * The names of the parameters of a call, in each of its forms: from the sources, since
     * the compiler keeps none of what Java is not to see.
     */
    private fun parameters(
        type: String,
        call: String,
    ): List<Set<String>> {
        val forms = Regex("""public (?:suspend )?fun $call\(\n(.*?)\n +\)""", RegexOption.DOT_MATCHES_ALL)
        val name = Regex("""^ +(?:vararg )?(\w+): """, RegexOption.MULTILINE)
        return forms.findAll(File("src/main/kotlin/casm/$type.kt").readText()).toList().map { form ->
            name.findAll(form.groupValues[1]).map { it.groupValues[1] }.toSet()
        }
    }

    @Test
    fun `every option of the table is here, at each call that takes it`() {
        fun fields(type: Class<*>) = type.declaredFields.map { it.name }.toSet()

        fun options(key: String) = Table.strings("options", key).map(::here).toSet()
        assertEquals(options("node"), fields(Config::class.java) - "Companion")
        assertEquals(options("node"), Config.Builder::class.java.methods.map { it.name }.toSet().intersect(options("node")))
        assertEquals(options("limits"), fields(Limits::class.java))
        assertEquals(options("rpc_limits"), fields(RpcLimits::class.java))
        assertEquals(options("table_limits"), fields(TableLimits::class.java))
        assertEquals(options("relay_limits"), fields(RelayLimits::class.java))
        assertEquals(options("query"), fields(Query::class.java) - "Companion")
        // Java's calls are given these.
        assertEquals(options("serve"), fields(ServeOptions::class.java))
        assertEquals(options("call") + options("call_all"), fields(CallOptions::class.java))
        val opening = listOf("openStream", "openChannel", "openSemaphore")
        val takers =
            mapOf(
                "start" to listOf("Node" to "start", "NodeJava" to "start", "NodeJava" to "startAsync"),
                "find_peers" to listOf("Node" to "findPeers", "Node" to "peerItems", "NodeJava" to "findPeers"),
                "topic" to listOf("Node" to "topic", "NodeJava" to "topic"),
                "messages" to listOf("subscribe", "messages", "onMessage", "onMessageForJava").map { "Topic" to it },
                "serve" to listOf("serve", "serveAnswers", "serveStream").map { "Node" to it },
                "call" to listOf("Node" to "call", "Node" to "callStream"),
                "call_all" to listOf("Node" to "callAll", "Node" to "replies"),
                "open" to opening.flatMap { listOf("Node" to it, "NodeJava" to it, "NodeJava" to "${it}Async") },
            )
        for ((key, calls) in takers) {
            for ((type, call) in calls) {
                val forms = parameters(type, call)
                assertTrue(forms.isNotEmpty(), "$type has no $call")
                for (named in forms) {
                    assertEquals(setOf(), options(key) - named, "$type.$call does not take them; it takes $named")
                }
            }
        }
        val others = setOf("node", "limits", "rpc_limits", "table_limits", "relay_limits", "query")
        assertEquals(Table.arrays("options").keys, takers.keys + others, "all of them are looked for")
    }

    @Test
    fun `every event and change of the table is here`() {
        fun nested(type: Class<*>) = type.declaredClasses.map { it.simpleName }.toSet() - "Companion"
        assertEquals(Table.strings("events", "names").toSet(), nested(Event::class.java))
        val kinds = Table.strings("changes", "kinds").map { it.replaceFirstChar(Char::uppercase) }
        assertEquals(kinds.toSet(), nested(Change::class.java))
    }
}
