// Private clusters: who holds the secret is in.

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { inspect } from 'node:util'
import { CasmError, Node, Secret } from 'casm-p2p'
import { options } from 'casm-p2p/testing'
import { patience, run } from './helpers.mjs'

const KEY = Buffer.from('6189c5cf0b87fb800c1a9feeda73c6ab5e998db48fb9e6a978575c770ceef683', 'hex')
const FINGERPRINT = '45fc986bbc9388a11d939df26f730f0c'
const file = (encoding, key) => Buffer.concat([Buffer.from(`/key/swarm/psk/1.0.0/\n/${encoding}/\n`), Buffer.from(key)])
const WHOLE = file('base16', KEY.toString('hex'))

let folder
before(() => (folder = mkdtempSync(join(tmpdir(), 'casm-'))))
after(() => rmSync(folder, { recursive: true }))

test('a secret is read in every encoding and not shown', () => {
  for (const given of [WHOLE, file('base64', KEY.toString('base64')), file('bin', KEY)]) {
    const secret = Secret.parse(given)
    assert.equal(secret.fingerprint, FINGERPRINT)
    for (const text of [String(secret), JSON.stringify(secret), inspect(secret, { showHidden: true })]) {
      assert.ok(!text.includes('6189c5cf'), text)
    }
  }
  const path = join(folder, 'swarm.key')
  const secret = Secret.generate()
  secret.save(path)
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.equal(Secret.load(path).fingerprint, secret.fingerprint)
  assert.throws(() => secret.save(path), { code: 'Config', message: /not overwritten/ })
})

test('what is no secret is refused and not shown', async () => {
  const cut = join(folder, 'cut')
  writeFileSync(cut, WHOLE.subarray(0, 70))
  for (const refuse of [
    () => Secret.parse(WHOLE.subarray(0, 70)),
    () => Secret.parse(WHOLE.toString()),
    () => Secret.load(WHOLE),
    () => Secret.load(cut),
    () => Node.start(options({ secret: cut })),
    // The secret where its file is to be named.
    () => Node.start(options({ secret: KEY.toString('hex') })),
    () => Node.start(options({ secret: WHOLE.toString() })),
    () => Node.start(options({ secret: WHOLE })),
    () => Node.start(options({ secret: [...KEY] })),
  ]) {
    const error = await (async () => refuse())().then(() => assert.fail('it works'), error => error)
    assert.ok(error instanceof TypeError || (error instanceof CasmError && error.code === 'Config'), String(error))
    for (const part of ['89c5cf0b87', '137,197,207', '54,49,56,57']) assert.ok(!error.message.includes(part), error.message)
  }
})

test('a node without the secret stays out', async () => {
  const path = join(folder, 'shared')
  const secret = Secret.generate()
  secret.save(path)
  const member = await Node.start(options({ secret }))
  assert.ok(member.addrs().every(addr => addr.includes('/tcp/')))
  const { namespace } = member
  const other = await Node.start(options({ namespace, secret: path }))
  await other.connect(member.info(), patience())
  await other.waitFor(2, patience())
  await other.close()
  for (const given of [{}, { secret: Secret.generate() }]) {
    const stranger = await Node.start(options({ namespace, ...given }))
    await assert.rejects(stranger.connect(member.info(), patience()), { code: 'Unreachable' })
    assert.equal(stranger.view().size, 1)
    await stranger.close()
  }
  const quic = options({ secret, listen: '/ip4/127.0.0.1/udp/0/quic-v1' })
  await assert.rejects(Node.start(quic), { code: 'Config', message: /QUIC has no pre-shared key/ })
  await member.close()
})

test('the variable names the file', async () => {
  const good = join(folder, 'good')
  Secret.generate().save(good)
  writeFileSync(join(folder, 'short'), readFileSync(good).subarray(0, 60))
  for (const [name, said] of [[good, 'false'], [join(folder, 'short'), 'Config'], ['', 'Io'], [join(folder, 'none'), 'Io']]) {
    const { code, out, err } = await run(`
      process.env.CASM_SECRET_FILE = process.argv[1]
      try {
        const node = await Node.start(options({ listen: [] }))
        console.log(node.addrs().some(addr => addr.includes('quic')))
        await node.close()
      } catch (error) {
        console.log(error.code, error.message.includes('secret file') ? '' : error.message)
      }`, { args: [name] })
    assert.deepEqual([code, out.trim()], [0, said], err)
  }
})
