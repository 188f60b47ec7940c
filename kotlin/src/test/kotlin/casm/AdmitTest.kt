package casm

import casm.CasmException.Kind
import java.nio.file.Files
import kotlin.test.assertEquals
import kotlin.test.assertTrue
import org.junit.jupiter.api.Test

/** Certificates: who may join is what an authority has signed. */
class AdmitTest {
    private val ca = Authority()

    /** The configuration of a member with these roles. */
    private fun member(
        vararg roles: String,
        of: Authority = ca,
    ): Config {
        val key = Key.generate()
        val certificate = Certificate.of(of.certificate(key.peer, "orchard", *roles))
        return loopback().copy(namespace = "orchard", key = key, admit = listOf(of.id), certificate = certificate)
    }

    private fun told(
        node: Node,
        peer: String,
        vararg roles: String,
    ) = until("$peer has the roles ${roles.toList()}") { node.view()[peer]?.roles == roles.toList() }

    @Test
    fun `members see each other and what an authority says of them`() =
        patiently {
            val file = Files.createTempFile("casm", "certificate")
            val key = Key.generate()
            Files.write(file, ca.certificate(key.peer, "orchard", "b", "a"))
            val here = Node.start(member("boss"), PATIENCE)
            val there = Node.start(member().copy(key = key, certificate = Certificate.file(file.toString())), PATIENCE)
            here.connect(there.addrs().first(), timeout = PATIENCE)
            for (node in listOf(here, there)) node.waitFor(2, timeout = PATIENCE)
            told(here, there.id, "a", "b")
            told(there, here.id, "boss")
            // Renewed by a call, and by the file.
            here.renew(ca.certificate(here.id, "orchard", "chief"))
            told(there, here.id, "chief")
            Files.write(file, ca.certificate(key.peer, "orchard", "c"))
            told(here, there.id, "c")
            // What is not acceptable leaves the one that there is.
            val refused =
                listOf(
                    ByteArray(0),
                    ca.certificate(there.id, "orchard"),
                    ca.certificate(here.id, "elsewhere"),
                    Authority().certificate(here.id, "orchard"),
                    ca.revocation(here.id),
                )
            for (certificate in refused) assertKind(Kind.CONFIG) { here.renew(certificate) }
            assertEquals(listOf("chief"), here.view()[here.id]?.roles)

            // And put out.
            val takenBack = ca.revocation(there.id)
            assertKind(Kind.CONFIG) { here.revoke(Authority().revocation(there.id)) }
            assertEquals(listOf(1, 0, 0), listOf(takenBack, takenBack, ByteArray(0)).map { here.revoke(it) })
            until("it is put out") { here.view().size == 1 && here.connected().isEmpty() }
            assertKind(Kind.UNREACHABLE) { here.connect(there.addrs().first(), timeout = PATIENCE) }
            here.close()
            there.close()
            Files.delete(file)
        }

    @Test
    fun `who is no member stays out, and who is revoked from the start`() =
        patiently {
            val file = Files.createTempFile("casm", "revoked")
            val put = member()
            Files.write(file, ca.revocation(put.key!!.peer))
            val here = Node.start(member().copy(revoked = file.toString()), PATIENCE)
            // The last would take whom they take.
            val other = Authority()
            val strangers = listOf(loopback().copy(namespace = "orchard"), put, member(of = other).copy(admit = listOf(other.id, ca.id)))
            for (config in strangers) {
                val stranger = Node.start(config, PATIENCE)
                assertKind(Kind.UNREACHABLE) { here.connect(stranger.addrs().first(), timeout = PATIENCE) }
                assertEquals(1 to 1, here.view().size to stranger.view().size)
                stranger.close()
            }
            here.close()
            Files.delete(file)
        }

    @Test
    fun `what does not go together is refused`() =
        patiently {
            val whole = member()
            val stranger = Authority().certificate(whole.key!!.peer, "orchard")
            for ((config, said) in listOf(
                whole.copy(admit = listOf()) to "admit",
                whole.copy(certificate = null) to "certificate",
                whole.copy(key = null) to "key",
                whole.copy(key = Key.generate()) to "certificate",
                whole.copy(namespace = "elsewhere") to "orchard",
                whole.copy(certificate = Certificate.of(stranger)) to "authority",
                whole.copy(certificate = Certificate.of("nonsense".bytes())) to "certificate",
            )) {
                val error = assertKind(Kind.CONFIG) { Node.start(config, PATIENCE) }
                assertTrue(said in error.message.orEmpty(), "$said: ${error.message}")
            }
            assertKind(Kind.IO) { Node.start(whole.copy(certificate = Certificate.file("/nowhere")), PATIENCE) }
            assertKind(Kind.IO) { Node.start(whole.copy(revoked = "/nowhere"), PATIENCE) }
        }
}
