package casm

import java.io.ByteArrayOutputStream
import java.math.BigInteger
import java.security.KeyPairGenerator
import java.security.SecureRandom
import java.security.Signature
import java.util.Base64
import java.util.concurrent.atomic.AtomicLong

/**
 * An authority for tests: signs certificates and revocations as files have them, with what
 * Java has: so it shows that the format is what it is said to be.
 */
internal class Authority {
    private val pair = KeyPairGenerator.getInstance("Ed25519").generateKeyPair()

    /** The last 32 bytes of Java's encoding are those of the key. */
    private val key = field(1, 1) + field(2, pair.public.encoded.takeLast(32).toByteArray())

    private val signed = AtomicLong()

    val id: String = idText(byteArrayOf(0) + long(key))

    /**
     * The file of a certificate, signed a second after the one before: of a peer's the one
     * that was signed last counts.
     */
    fun certificate(
        peer: String,
        namespace: String,
        vararg roles: String,
    ): ByteArray {
        val issued = now() - 1000 + signed.incrementAndGet()
        val named = field(1, idBytes(peer)) + field(2, namespace.bytes())
        val proven = roles.sorted().fold(named) { so, role -> so + field(3, role.bytes()) }
        val serial = ByteArray(16).also(SecureRandom()::nextBytes)
        return file("certificate", proven + field(4, issued) + field(5, issued + 3600) + field(6, issued) + field(7, serial))
    }

    /** The file of a revocation of what was signed until now. */
    fun revocation(peer: String): ByteArray =
        file("revocation", field(1, idBytes(peer)) + field(2, now()) + field(3, now() + 3600))

    private fun file(
        kind: String,
        payload: ByteArray,
    ): ByteArray {
        val type = "/casm/admit/$kind".bytes()
        val signed = long("casm-admit-$kind".bytes()) + long(type) + long(payload)
        val signature =
            Signature.getInstance("Ed25519").run {
                initSign(pair.private)
                update(signed)
                sign()
            }
        val envelope = field(1, key) + field(2, type) + field(3, payload) + field(5, signature)
        val lines = Base64.getMimeEncoder(64, "\n".bytes()).encodeToString(envelope)
        val label = "CASM ${kind.uppercase()}-----"
        return "-----BEGIN $label\n$lines\n-----END $label\n".bytes()
    }

    private companion object {
        const val ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
        val BASE: BigInteger = BigInteger.valueOf(58)

        fun now() = System.currentTimeMillis() / 1000

        fun varint(n: Long): ByteArray =
            ByteArrayOutputStream()
                .apply {
                    var rest = n
                    while (rest > 127) {
                        write((rest % 128).toInt() or 128)
                        rest /= 128
                    }
                    write(rest.toInt())
                }.toByteArray()

        fun long(bytes: ByteArray) = varint(bytes.size.toLong()) + bytes

        /** A field of a protobuf message. */
        fun field(
            n: Long,
            value: ByteArray,
        ) = varint(n * 8 + 2) + long(value)

        fun field(
            n: Long,
            value: Long,
        ) = varint(n * 8) + varint(value)

        /** Of an id that begins with one zero byte, as those of these keys do. */
        fun idText(bytes: ByteArray): String {
            val digits = generateSequence(BigInteger(1, bytes)) { it / BASE }.takeWhile { it.signum() > 0 }
            return "1" + digits.map { ALPHABET[it.mod(BASE).toInt()] }.joinToString("").reversed()
        }

        fun idBytes(text: String): ByteArray {
            val number =
                text.fold(BigInteger.ZERO) { so, digit -> so * BASE + BigInteger.valueOf(ALPHABET.indexOf(digit).toLong()) }
            return byteArrayOf(0) + number.toByteArray()
        }
    }
}
