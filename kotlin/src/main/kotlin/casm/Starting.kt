package casm

import casm.ffi.CallOptions as GivenCall
import kotlin.time.Duration

// The calls of a node that wait, begun: for coroutines, and for Java.

internal fun starting(
    config: Config,
    timeout: Duration?,
    onEvent: EventListener?,
): Call<Node> {
    Threads.prepare()
    return begin { casm.ffi.startNode(config.given(), timeout.orNone(), onEvent?.given()).call() }.map { Node.of(it) }
}

internal fun Node.waitingFor(
    n: Int,
    query: Query?,
    timeout: Duration?,
) = begin { given.startWaitFor(n.unsigned("n"), timeout.orNone(), query?.given()).call() }.map(::View)

internal fun Node.viewing(
    peer: String,
    timeout: Duration?,
) = begin { given.startViewOf(peer, timeout.orNone()).call() }.map(::RemoteView)

internal fun Node.connecting(
    addrs: List<String>,
    timeout: Duration?,
) = begin { given.startConnect(addrs, timeout.orNone()).call() }

internal fun Node.opening(
    addrs: List<String>,
    protocol: String,
    timeout: Duration?,
) = begin { given.startOpenStream(addrs, protocol, timeout?.toSeconds()).call() }.map(::ByteStream)

internal fun Node.advertising(
    namespace: String,
    ttl: Duration,
    timeout: Duration?,
) = begin { given.startAdvertise(namespace, ttl.toSeconds(), timeout.orNone()).call() }

internal fun Node.settingMeta(
    meta: Map<String, String>,
    timeout: Duration?,
) = begin { given.startSetMeta(meta, timeout.orNone()).call() }

internal fun Node.updatingMeta(
    changes: Map<String, String?>,
    timeout: Duration?,
) = begin { given.startUpdateMeta(changes, timeout.orNone()).call() }

internal fun Node.settingHost(
    host: String,
    timeout: Duration?,
) = begin { given.startSetHost(host, timeout.orNone()).call() }

internal fun Node.settingTtl(
    ttl: Duration,
    timeout: Duration?,
) = begin { given.startSetTtl(ttl.toSeconds(), timeout.orNone()).call() }

internal fun Node.openingChannel(
    name: String,
    peer: String?,
    timeout: Duration?,
) = begin { given.startOpenChannel(name, peer, timeout?.toSeconds()).call() }.map(::Channel)

internal fun Node.makingSemaphore(
    name: String,
    n: Int,
    timeout: Duration?,
) = begin { given.startSemaphore(name, n.unsigned("n"), timeout.orNone()).call() }.map(::Semaphore)

internal fun Node.openingSemaphore(
    name: String,
    peer: String?,
    timeout: Duration?,
) = begin { given.startOpenSemaphore(name, peer, timeout?.toSeconds()).call() }.map(::Semaphore)

internal fun Node.calling(
    name: String,
    data: ByteArray,
    options: GivenCall,
) = begin { given.startCall(name, data, options).call() }.map { Answer.of(it) }

internal fun Node.pausing(timeout: Duration?) = begin { given.startPause(timeout.orNone()).call() }

internal fun Node.resuming(timeout: Duration?) = begin { given.startResume(timeout.orNone()).call() }

internal fun Node.closing(
    grace: Duration,
    handling: Boolean,
) = begin { given.startClose(Node.bound(grace), grace.toSeconds(), handling).call() }

private inline fun <T> begin(call: () -> Call<T>): Call<T> = translating(call)
