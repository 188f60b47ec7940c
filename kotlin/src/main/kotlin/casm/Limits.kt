package casm

import casm.ffi.Limits as Given
import casm.ffi.RpcLimits as GivenRpc
import casm.ffi.TableLimits as GivenTable
import java.time.Duration as JavaDuration
import kotlin.time.Duration

/** Limits on what is spent on peers. What is left out has its default. */
public data class Limits
    @JvmOverloads
    constructor(
        /** Established connections. */
        val connections: Int? = null,
        /** Established connections with one peer. */
        val connectionsPerPeer: Int? = null,
        /** Connections being set up, in each direction. */
        val pending: Int? = null,
        /**
         * Fraction of the machine's memory which the process may use before new
         * connections are refused.
         */
        val memory: Double? = null,
        /** What capabilities may cost. */
        val rpc: RpcLimits? = null,
        /** What the cluster view may hold. */
        val table: TableLimits? = null,
    ) {
        internal fun given() =
            Given(
                connections = connections?.unsigned("limits.connections"),
                connectionsPerPeer = connectionsPerPeer?.unsigned("limits.connections_per_peer"),
                pending = pending?.unsigned("limits.pending"),
                memory = memory,
                rpc = rpc?.given(),
                table = table?.given(),
            )
    }

/** Limits on what the cluster view may hold. What is left out has its default. */
public data class TableLimits(
    /** Records. */
    val records: Int? = null,
    /** Bytes of memory, as estimated. */
    val bytes: Int? = null,
    /** Departed peers whose sequence numbers are remembered. */
    val remembered: Int? = null,
    /**
     * How long a peer must have been there so that no stranger takes its place in a full
     * table.
     */
    @get:JvmSynthetic val probation: Duration? = null,
) {
    /** The same, for Java. What is null has its default. */
    public constructor(records: Int?, bytes: Int?, remembered: Int?, probation: JavaDuration?) :
        this(records, bytes, remembered, probation.kotlin())

    internal fun given() =
        GivenTable(
            records = records?.unsigned("limits.table.records"),
            bytes = bytes?.unsigned("limits.table.bytes"),
            remembered = remembered?.unsigned("limits.table.remembered"),
            probation = probation?.toSeconds(),
        )
}

/** Limits on what RPC may cost. What is left out has its default. */
public data class RpcLimits(
    /** Bytes of one message that is received. */
    val messageBytes: Int? = null,
    /** Bytes of the calls that a stream has brought and that are not answered. */
    val heldBytes: Int? = null,
    /** Bytes that wait to be written on a stream. */
    val queuedBytes: Int? = null,
    /** Bytes of all streams together. */
    val totalBytes: Int? = null,
    /** Calls that a stream has brought and that are not finished. */
    val calls: Int? = null,
    /** Capabilities that a stream exports, and that it imports. */
    val capabilities: Int? = null,
    /** Streams that one peer may have open. */
    val streamsPerPeer: Int? = null,
    /** Streams that all peers together may have open. */
    val streams: Int? = null,
    /** How long a stream may be idle. */
    @get:JvmSynthetic val idle: Duration? = null,
    /** For how long the peer may take none of the bytes that wait for it. */
    @get:JvmSynthetic val stall: Duration? = null,
    /** How long a call which a stream has brought may take. */
    @get:JvmSynthetic val call: Duration? = null,
) {
    /** The same, for Java. What is null has its default. */
    @Suppress("LongParameterList")
    public constructor(
        messageBytes: Int?,
        heldBytes: Int?,
        queuedBytes: Int?,
        totalBytes: Int?,
        calls: Int?,
        capabilities: Int?,
        streamsPerPeer: Int?,
        streams: Int?,
        idle: JavaDuration?,
        stall: JavaDuration?,
        call: JavaDuration?,
    ) : this(
        messageBytes, heldBytes, queuedBytes, totalBytes, calls, capabilities, streamsPerPeer, streams,
        idle.kotlin(), stall.kotlin(), call.kotlin(),
    )

    internal fun given() =
        GivenRpc(
            messageBytes = messageBytes?.unsigned("limits.rpc.message_bytes"),
            heldBytes = heldBytes?.unsigned("limits.rpc.held_bytes"),
            queuedBytes = queuedBytes?.unsigned("limits.rpc.queued_bytes"),
            totalBytes = totalBytes?.unsigned("limits.rpc.total_bytes"),
            calls = calls?.unsigned("limits.rpc.calls"),
            capabilities = capabilities?.unsigned("limits.rpc.capabilities"),
            streamsPerPeer = streamsPerPeer?.unsigned("limits.rpc.streams_per_peer"),
            streams = streams?.unsigned("limits.rpc.streams"),
            idle = idle?.toSeconds(),
            stall = stall?.toSeconds(),
            call = call?.toSeconds(),
        )
}
