package casm

import casm.ffi.Node as Given

/**
 * Whom a node takes: what [Node] and [NodeJava] have of that. None of these calls waits, and
 * a change counts at once: connections of who is not taken any more are closed, and its
 * record leaves the view. Who is taken again comes back by itself.
 *
 * What is no peer id is `ADDRESS`, and more than 65536 ids on a list are `CONFIG`: then
 * nothing is changed.
 */
public abstract class Admission internal constructor(
    internal val given: Given,
) {
    /**
     * Takes these peers too. With the first one there is an allow list, and who is not on it
     * gets no connection and no answer, and is in no view. This node itself is always taken.
     */
    public fun allow(ids: Collection<String>): Unit = translating { given.allow(ids.toList()) }

    /** Takes these peers too. */
    public fun allow(vararg ids: String): Unit = allow(ids.asList())

    /**
     * Takes peers off the allow list. When the last one has gone, nobody is taken: [allowAll]
     * takes everybody. Without an allow list it does nothing.
     */
    public fun disallow(ids: Collection<String>): Unit = translating { given.disallow(ids.toList()) }

    /** Takes peers off the allow list. */
    public fun disallow(vararg ids: String): Unit = disallow(ids.asList())

    /** Does without an allow list: everybody is taken who is not denied. */
    public fun allowAll(): Unit = translating { given.allowAll() }

    /** Puts these in the place of the allow list, in one step: none of them means that nobody is taken. */
    public fun setAllowed(ids: Collection<String>): Unit = translating { given.setAllowed(ids.toList()) }

    /** The allow list, in the order of the ids; null if there is none and everybody is taken. */
    public fun allowed(): List<String>? = translating { given.allowed() }

    /**
     * Doesn't take these peers any more, whether they are allowed or not: they leave the view
     * as those that have left. This node itself among them is `CONFIG`.
     */
    public fun deny(ids: Collection<String>): Unit = translating { given.deny(ids.toList()) }

    /** Doesn't take these peers any more. */
    public fun deny(vararg ids: String): Unit = deny(ids.asList())

    /** Takes peers off the deny list. They come back by themselves. */
    public fun undeny(ids: Collection<String>): Unit = translating { given.undeny(ids.toList()) }

    /** Takes peers off the deny list. */
    public fun undeny(vararg ids: String): Unit = undeny(ids.asList())

    /** Puts these in the place of the deny list, in one step. */
    public fun setDenied(ids: Collection<String>): Unit = translating { given.setDenied(ids.toList()) }

    /** The deny list, in the order of the ids. */
    public fun denied(): List<String> = translating { given.denied() }

    /**
     * Puts another certificate, as its file has it, in the place of this node's, before that
     * one ends. Connections go on. One that is not acceptable is `CONFIG`, and the old one
     * stays; without [Config.admit] it is `INVALID`.
     */
    public fun renew(certificate: ByteArray): Unit = translating { given.renew(certificate) }

    /**
     * Puts out those whose certificates these revocations, as a file has them, take back:
     * here and wherever members are. Gives how many were new here. One that is not
     * acceptable is `CONFIG`; without [Config.admit] it is `INVALID`.
     */
    public fun revoke(revocations: ByteArray): Int = translating { given.revoke(revocations).toInt() }
}
