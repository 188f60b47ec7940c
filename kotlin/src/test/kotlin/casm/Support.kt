package casm

import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import kotlin.test.assertEquals
import kotlin.test.assertNotNull
import kotlin.test.fail
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout

/** How long anything may take. */
internal val PATIENCE: Duration = 60.seconds

/** That of a whole test. */
internal fun <T> patiently(test: suspend CoroutineScope.() -> T) {
    runBlocking { withTimeout(PATIENCE * 3, test) }
}

/** A node that listens on the loopback interface only. */
internal fun loopback(
    boot: String = "none",
    meta: Map<String, String> = mapOf(),
) = Config(listen = listOf("/ip4/127.0.0.1/tcp/0"), boot = listOf(boot), meta = meta)

internal suspend fun start(
    boot: String = "none",
    meta: Map<String, String> = mapOf(),
) = Node.start(loopback(boot, meta), PATIENCE)

/** Two nodes that know each other. */
internal suspend fun pair(): Pair<Node, Node> {
    val first = start()
    val second = start(first.addrs().first())
    for (node in listOf(first, second)) node.waitFor(2, timeout = PATIENCE)
    return first to second
}

internal fun <T : Any> LinkedBlockingQueue<T>.next(): T =
    assertNotNull(poll(PATIENCE.inWholeSeconds, TimeUnit.SECONDS), "nothing comes")

/** Waits until something is so. */
internal fun until(
    what: String,
    holds: () -> Boolean,
) {
    val end = System.nanoTime() + PATIENCE.inWholeNanoseconds
    while (!holds()) {
        if (System.nanoTime() > end) fail("it never is so: $what")
        Thread.sleep(10)
    }
}

internal inline fun assertKind(
    kind: CasmException.Kind,
    call: () -> Unit,
): CasmException {
    try {
        call()
    } catch (error: CasmException) {
        assertEquals(kind, error.kind, error.message)
        return error
    }
    fail("it does not fail: $kind was expected")
}

internal fun String.bytes() = encodeToByteArray()
