package casm

import casm.ffi.Secret as Given

/**
 * The pre-shared key of a private cluster: 32 random bytes, as a `swarm.key` of libp2p holds
 * them. Who doesn't hold it can't connect, gets no answer, and learns neither names nor
 * addresses.
 *
 * Nothing prints it: its [fingerprint] is what can be shown and compared.
 */
public class Secret private constructor(
    internal val given: Given,
) {
    /** 32 hex digits that tell secrets apart, as other stacks show them, and say nothing of them. */
    public val fingerprint: String get() = given.fingerprint()

    /**
     * Writes it into a new file, in base16, which only its owner can read. `CONFIG` if the file
     * exists: it is not overwritten.
     */
    public fun save(path: String): Unit = translating { given.save(path) }

    override fun equals(other: Any?): Boolean = other is Secret && other.fingerprint == fingerprint

    override fun hashCode(): Int = fingerprint.hashCode()

    /** Tells which it is, and not the secret. */
    override fun toString(): String = "Secret($fingerprint)"

    public companion object {
        /** A new secret, of the system's randomness. */
        @JvmStatic
        public fun generate(): Secret = Secret(translating { Given.generate() })

        /**
         * What a `swarm.key` file holds, in base16, base64 or bin: from a resource, or whatever
         * keeps secrets. `CONFIG` if it is none, cut, or goes on; nothing of what it holds is in
         * the message.
         */
        @JvmStatic
        public fun parse(file: ByteArray): Secret = Secret(translating { Given.parse(file) })

        /** The secret in a `swarm.key` file. `IO` if it can't be read, `CONFIG` as of [parse]. */
        @JvmStatic
        public fun load(path: String): Secret = Secret(translating { Given.load(path) })
    }
}
