// An authority for tests: signs certificates and revocations as files have them, with
// what Node.js has: so it shows that the format is what it is said to be.

import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
const now = () => Math.floor(Date.now() / 1000)

function varint(n) {
  const out = []
  for (; n > 127; n = Math.floor(n / 128)) out.push((n % 128) | 128)
  return Buffer.from([...out, n])
}

const long = bytes => Buffer.concat([varint(bytes.length), bytes])

/** A field of a protobuf message. */
function field(n, value) {
  if (typeof value === 'number') return Buffer.concat([varint(n << 3), varint(value)])
  return Buffer.concat([varint((n << 3) | 2), long(Buffer.from(value))])
}

function idText(bytes) {
  let [number, text] = [BigInt(`0x${bytes.toString('hex')}`), '']
  for (; number > 0n; number /= 58n) text = ALPHABET[Number(number % 58n)] + text
  return '1'.repeat(bytes.findIndex(byte => byte !== 0)) + text
}

function idBytes(text) {
  const number = [...text].reduce((number, digit) => number * 58n + BigInt(ALPHABET.indexOf(digit)), 0n)
  const hex = number.toString(16)
  return Buffer.concat([
    Buffer.alloc(text.length - text.replace(/^1+/, '').length),
    Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex'),
  ])
}

export class Authority {
  #key
  #signed = 0

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    this.#key = privateKey
    this.key = Buffer.concat([field(1, 1), field(2, Buffer.from(publicKey.export({ format: 'jwk' }).x, 'base64url'))])
    this.id = idText(Buffer.concat([Buffer.from([0]), long(this.key)]))
  }

  #file(kind, ...fields) {
    const payload = Buffer.concat(fields)
    const type = Buffer.from(`/casm/admit/${kind}`)
    const signed = Buffer.concat([Buffer.from(`casm-admit-${kind}`), type, payload].map(long))
    const signature = sign(null, signed, this.#key)
    const envelope = Buffer.concat([field(1, this.key), field(2, type), field(3, payload), field(5, signature)])
    const lines = envelope.toString('base64').match(/.{1,64}/g)
    const label = `CASM ${kind.toUpperCase()}-----`
    return Buffer.from([`-----BEGIN ${label}`, ...lines, `-----END ${label}`, ''].join('\n'))
  }

  /**
   * The file of a certificate, signed a second after the one before: of a peer's the one
   * that was signed last counts.
   */
  certificate(peer, namespace, ...roles) {
    const issued = now() - 1000 + ++this.#signed
    return this.#file(
      'certificate',
      field(1, idBytes(peer)),
      field(2, namespace),
      ...roles.sort().map(role => field(3, role)),
      field(4, issued),
      field(5, issued + 3600),
      field(6, issued),
      field(7, randomBytes(16)),
    )
  }

  /** The file of a revocation of what was signed until now. */
  revocation(peer) {
    return this.#file('revocation', field(1, idBytes(peer)), field(2, now()), field(3, now() + 3600))
  }
}
