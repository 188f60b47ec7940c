package casm

import casm.ffi.uniffiCallbackInterfaceChangeListener
import casm.ffi.uniffiCallbackInterfaceDone
import casm.ffi.uniffiCallbackInterfaceEventListener
import casm.ffi.uniffiCallbackInterfaceLogListener
import casm.ffi.uniffiCallbackInterfaceMessageListener
import casm.ffi.uniffiCallbackInterfaceServiceHandler
import casm.ffi.uniffiCallbackInterfaceStreamListener
import com.sun.jna.Callback
import com.sun.jna.CallbackThreadInitializer
import com.sun.jna.Native

/**
 * Threads of the library that call us are known to the JVM from their first call to their
 * end, instead of anew for each call, and never keep a program from ending.
 */
internal object Threads {
    private val calls: List<Callback> =
        listOf(
            uniffiCallbackInterfaceDone.done,
            uniffiCallbackInterfaceDone.uniffiFree,
            uniffiCallbackInterfaceDone.uniffiClone,
            uniffiCallbackInterfaceEventListener.onEvent,
            uniffiCallbackInterfaceEventListener.uniffiFree,
            uniffiCallbackInterfaceEventListener.uniffiClone,
            uniffiCallbackInterfaceChangeListener.onChange,
            uniffiCallbackInterfaceChangeListener.uniffiFree,
            uniffiCallbackInterfaceChangeListener.uniffiClone,
            uniffiCallbackInterfaceMessageListener.onMessage,
            uniffiCallbackInterfaceMessageListener.uniffiFree,
            uniffiCallbackInterfaceMessageListener.uniffiClone,
            uniffiCallbackInterfaceStreamListener.onStream,
            uniffiCallbackInterfaceStreamListener.uniffiFree,
            uniffiCallbackInterfaceStreamListener.uniffiClone,
            uniffiCallbackInterfaceServiceHandler.onRequest,
            uniffiCallbackInterfaceServiceHandler.uniffiFree,
            uniffiCallbackInterfaceServiceHandler.uniffiClone,
            uniffiCallbackInterfaceLogListener.onLogs,
            uniffiCallbackInterfaceLogListener.uniffiFree,
            uniffiCallbackInterfaceLogListener.uniffiClone,
        )

    init {
        val attached = CallbackThreadInitializer(true, false, "casm-callbacks")
        calls.forEach { Native.setCallbackThreadInitializer(it, attached) }
    }

    /** Before the library gets anything to call. */
    fun prepare() = Unit
}
