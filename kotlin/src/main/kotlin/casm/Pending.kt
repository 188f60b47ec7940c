package casm

import casm.ffi.PendingAnswer
import casm.ffi.PendingByteStream
import casm.ffi.PendingBytes
import casm.ffi.PendingChannel
import casm.ffi.PendingJob
import casm.ffi.PendingLease
import casm.ffi.PendingMaybeBytes
import casm.ffi.PendingMaybeChange
import casm.ffi.PendingMaybeEvent
import casm.ffi.PendingMaybeFound
import casm.ffi.PendingMaybeMessage
import casm.ffi.PendingMaybeRecord
import casm.ffi.PendingMaybeReply
import casm.ffi.PendingNode
import casm.ffi.PendingNumber
import casm.ffi.PendingPeer
import casm.ffi.PendingPeers
import casm.ffi.PendingRemoteView
import casm.ffi.PendingSelected
import casm.ffi.PendingSemaphore
import casm.ffi.PendingUnit
import casm.ffi.PendingView

// The generated classes of calls are alike and have no class in common: here is one.

internal fun PendingUnit.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingNode.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingView.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingRemoteView.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingPeer.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingPeers.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingNumber.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingBytes.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingByteStream.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingChannel.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingJob.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingSelected.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingSemaphore.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingLease.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingAnswer.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingMaybeRecord.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingMaybeEvent.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingMaybeChange.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingMaybeFound.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingMaybeMessage.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingMaybeReply.call() = Call(::whenDone, ::take, ::cancel, ::destroy)

internal fun PendingMaybeBytes.call() = Call(::whenDone, ::take, ::cancel, ::destroy)
