package casm

import casm.ffi.Key as Given

/** A node's identity: an ed25519 key, or whatever a key file holds. */
public class Key private constructor(
    internal val given: Given,
) {
    /** The id of a node that has this key. */
    public val peer: String get() = given.peer()

    /** Writes it into a new file, which only its owner can read. */
    public fun save(path: String): Unit = translating { given.save(path) }

    override fun equals(other: Any?): Boolean = other is Key && other.peer == peer

    override fun hashCode(): Int = peer.hashCode()

    /** Tells whose it is, and not the key. */
    override fun toString(): String = "Key($peer)"

    public companion object {
        /** A fresh ed25519 key. */
        @JvmStatic
        public fun generate(): Key = Key(translating { Given.generate() })

        /** The key in a file. */
        @JvmStatic
        public fun load(path: String): Key = Key(translating { Given.load(path) })
    }
}
