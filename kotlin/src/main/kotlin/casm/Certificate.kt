package casm

import casm.ffi.Certificate as Given

/** Where the certificate of a node is. */
public class Certificate private constructor(
    internal val given: Given,
) {
    override fun toString(): String =
        when (given) {
            is Given.File -> "Certificate.file(${given.path})"
            is Given.Bytes -> "Certificate.of(${given.data.size} bytes)"
        }

    public companion object {
        /** In this file, which is read again when it changes. */
        @JvmStatic
        public fun file(path: String): Certificate = Certificate(Given.File(path))

        /** Here: what a file holds. */
        @JvmStatic
        public fun of(data: ByteArray): Certificate = Certificate(Given.Bytes(data.copyOf()))
    }
}
