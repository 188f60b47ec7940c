// Why js-libp2p and py-libp2p don't understand each other over TLS: the least
// that shows it. If @libp2p/tls is repaired, the second test fails here, and
// the exception in `cargo xtask interop` can go.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { encodeSignatureData, generateCertificate, verifyPeerCertificate } from '@libp2p/tls/utils'
import {
  BasicConstraintsExtension, PemConverter, X509Certificate, X509CertificateGenerator, cryptoProvider
} from '@peculiar/x509'

const LIBP2P = '1.3.6.1.4.1.53594.1.1'
const ECDSA = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

/** A certificate for `key`, with libp2p's extension and another one as `order` says. */
async function certificate (key, order) {
  // libp2p's extension signs the certificate's own key, which js-libp2p makes
  // itself: taken from there, with that key.
  const made = await generateCertificate(key)
  const libp2p = new X509Certificate(made.cert).extensions.find(({ type }) => type === LIBP2P)
  const crypto = cryptoProvider.get()
  const privateKey = await crypto.subtle.importKey('pkcs8', PemConverter.decode(made.key)[0], ECDSA, true, ['sign'])
  const publicKey = await new X509Certificate(made.cert).publicKey.export(ECDSA, ['verify'], crypto)
  const signed = await X509CertificateGenerator.createSelfSigned({
    serialNumber: '1234',
    notBefore: new Date(Date.now() - 3_600_000),
    notAfter: new Date(Date.now() + 3_600_000),
    signingAlgorithm: ECDSA,
    keys: { privateKey, publicKey },
    extensions: order(libp2p, new BasicConstraintsExtension(false))
  })
  return new Uint8Array(signed.rawData)
}

test('a certificate whose first extension is that of libp2p is accepted', async () => {
  const key = await generateKeyPair('Ed25519')
  for (const order of [libp2p => [libp2p], (libp2p, other) => [libp2p, other]]) {
    const peer = await verifyPeerCertificate(await certificate(key, order))
    assert.ok(peer.equals(peerIdFromPrivateKey(key)))
  }
})

test('the same extensions in another order are refused: a defect of @libp2p/tls 3.1', async () => {
  const key = await generateKeyPair('Ed25519')
  const raw = await certificate(key, (libp2p, other) => [other, libp2p])
  await assert.rejects(verifyPeerCertificate(raw), /did not include the libp2p public key extension/)
  // It is there, and signs what it has to.
  const read = new X509Certificate(raw)
  assert.deepEqual(Array.from(read.extensions, ({ type }) => type).slice(1), [LIBP2P])
  assert.ok(await read.verify())
  assert.ok(encodeSignatureData(read.publicKey.rawData).length > 0)
})
