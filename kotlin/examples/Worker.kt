package examples

import casm.Config
import casm.Node
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.runBlocking

/**
 * A worker for the command line, which serves `shout` to all members, whatever their
 * language, until it is ended:
 *
 *     java -cp … examples.WorkerKt NAMESPACE [BOOT…]
 */
fun main(args: Array<String>): Unit =
    runBlocking {
        val boot = args.drop(1).ifEmpty { null }
        val listen = if (boot == listOf("none")) listOf("/ip4/127.0.0.1/tcp/0") else listOf()
        val config = Config(namespace = args.firstOrNull(), boot = boot, listen = listen, meta = mapOf("role" to "worker"))
        // At Ctrl-C the node says goodbye by itself.
        Node.start(config).use { node ->
            node.serve("shout") { request -> request.data.decodeToString().uppercase().encodeToByteArray() }
            println("at ${node.addrs().first()}")
            awaitCancellation()
        }
    }
