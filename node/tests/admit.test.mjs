// Certificates: who may join is what an authority has signed.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { CasmError, Key, Node } from 'casm-p2p'
import { cluster, options } from 'casm-p2p/testing'
import { Authority } from './authority.mjs'
import { patience, until } from './helpers.mjs'

let folder
before(() => (folder = mkdtempSync(join(tmpdir(), 'casm-'))))
after(() => rmSync(folder, { recursive: true }))

/** The options of a member with these roles. */
function member(ca, roles = [], given = {}) {
  const key = Key.generate()
  const certificate = ca.certificate(key.peer, 'orchard', ...roles)
  return options({ namespace: 'orchard', key, admit: ca.id, certificate, ...given })
}

/** Waits until these roles of a peer are known. */
const told = (node, peer, ...roles) =>
  until(() => JSON.stringify(node.view().get(peer)?.roles) === JSON.stringify(roles))

test('members see each other and what an authority says of them', async () => {
  const ca = new Authority()
  const file = join(folder, 'certificate')
  const key = Key.generate()
  writeFileSync(file, ca.certificate(key.peer, 'orchard', 'b', 'a'))
  const a = await Node.start(member(ca, ['boss']))
  const b = await Node.start(member(ca, [], { key, certificate: file }))
  await a.connect(b.info(), patience())
  await Promise.all([a, b].map(node => node.waitFor(2, patience())))
  await told(a, b.id, 'a', 'b')
  await told(b, a.id, 'boss')
  // Renewed by a call, and by the file.
  a.renew(ca.certificate(a.id, 'orchard', 'chief'))
  await told(b, a.id, 'chief')
  writeFileSync(file, ca.certificate(key.peer, 'orchard', 'c'))
  await told(a, b.id, 'c')
  // What is not acceptable leaves the one that there is.
  for (const refused of [
    new Uint8Array(),
    Buffer.from('nonsense'),
    ca.certificate(b.id, 'orchard'),
    ca.certificate(a.id, 'elsewhere'),
    new Authority().certificate(a.id, 'orchard'),
    ca.revocation(a.id),
  ]) {
    assert.throws(() => a.renew(refused), { code: 'Config' })
  }
  assert.deepEqual([a.view().get(a.id).roles, a.view().size], [['chief'], 2])
  await Promise.all([a.close(), b.close()])
})

test('who is no member, or not any more, is put out', async () => {
  const [ca, other] = [new Authority(), new Authority()]
  const [a, b] = [await Node.start(member(ca)), await Node.start(member(ca))]
  await a.connect(b.info(), patience())
  await a.waitFor(2, patience())
  // The second would take whom they take.
  for (const given of [options({ namespace: 'orchard' }), member(other, [], { admit: [other.id, ca.id] })]) {
    const stranger = await Node.start(given)
    await assert.rejects(a.connect(stranger.info(), patience()), { code: 'Unreachable' })
    assert.deepEqual([stranger.view().size, a.view().size], [1, 2])
    await stranger.close()
  }
  const broken = Buffer.from('-----BEGIN CASM REVOCATION-----\nnonsense')
  for (const refused of [broken, ca.certificate(b.id, 'orchard'), other.revocation(b.id)]) {
    assert.throws(() => a.revoke(refused), { code: 'Config' })
  }
  const events = a.events(patience())
  const takenBack = ca.revocation(b.id)
  assert.deepEqual([a.revoke(takenBack), a.revoke(takenBack), a.revoke(new Uint8Array())], [1, 0, 0])
  for await (const event of events) {
    if (event.type === 'peer:left' && event.peer === b.id) break
  }
  await until(() => a.connected().length === 0)
  await assert.rejects(a.connect(b.info(), patience()), { code: 'Unreachable' })
  await Promise.all([a.close(), b.close()])
})

test('a file of revocations counts from the start', async () => {
  const ca = new Authority()
  const given = member(ca)
  const file = join(folder, 'revoked')
  writeFileSync(file, ca.revocation(given.key.peer))
  const [a, b] = [await Node.start(member(ca, [], { revoked: file })), await Node.start(given)]
  await assert.rejects(a.connect(b.info(), patience()), { code: 'Unreachable' })
  await Promise.all([a.close(), b.close()])
})

test('what does not go together is refused', async () => {
  const ca = new Authority()
  const whole = member(ca)
  const none = join(folder, 'none')
  for (const [change, code, said] of [
    [{ admit: undefined }, 'Config', 'admit'],
    [{ certificate: undefined }, 'Config', 'certificate'],
    [{ key: undefined }, 'Config', 'key'],
    [{ key: Key.generate() }, 'Config', 'certificate'],
    [{ namespace: 'elsewhere' }, 'Config', 'orchard'],
    [{ certificate: new Authority().certificate(whole.key.peer, 'orchard') }, 'Config', 'authority'],
    [{ certificate: Buffer.from('nonsense') }, 'Config', 'certificate'],
    [{ certificate: none }, 'Io', none],
    [{ revoked: none }, 'Io', none],
    [{ admit: 'me' }, 'Address', 'admit: peer id "me"'],
    [{ admit: 7 }, 'ERR_INVALID_ARG_TYPE', 'admit: 7'],
    [{ certificate: 7 }, 'ERR_INVALID_ARG_TYPE', 'certificate: 7'],
    [{ revoked: 7 }, 'ERR_INVALID_ARG_TYPE', 'revoked: 7'],
  ]) {
    const error = await Node.start({ ...whole, ...change }).catch(error => error)
    assert.ok(error instanceof CasmError || error instanceof TypeError, String(error))
    assert.equal(error.code, code, error.message)
    assert.ok(error.message.includes(said), error.message)
  }
  const [node] = await cluster(1)
  for (const call of ['renew', 'revoke']) assert.throws(() => node[call]('text'), { code: 'ERR_INVALID_ARG_TYPE' })
  assert.throws(() => node.renew(whole.certificate), { code: 'Invalid', message: /admit/ })
  assert.throws(() => node.revoke(ca.revocation(node.id)), { code: 'Invalid', message: /admit/ })
  await node.close()
})
