// Allow and deny lists: whom a node takes.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Key, Node } from 'casm-p2p'
import { cluster, options } from 'casm-p2p/testing'
import { patience } from './helpers.mjs'

const strangers = n => Array.from({ length: n }, () => Key.generate().peer)

/** Why a peer leaves once something was done, when it is disconnected too. */
async function putOut(node, peer, done) {
  const events = node.events(patience())
  done()
  let reason
  let disconnected = false
  for await (const event of events) {
    if (event.peer !== peer) continue
    if (event.type === 'peer:left') reason = event.reason
    if (event.type === 'disconnected') disconnected = true
    if (reason !== undefined && disconnected) return reason
  }
}

test('a denied peer leaves the view and comes back when it is taken again', async () => {
  const [a, b] = await cluster(2)
  assert.equal(await putOut(a, b.id, () => a.deny(b.id)), 'left')
  assert.deepEqual([a.view().size, a.denied()], [1, [b.id]])
  await assert.rejects(a.connect(b.info(), patience()), { code: 'Unreachable' })
  a.undeny([b.id])
  assert.ok((await a.waitFor(2, patience())).get(b.id))
  assert.deepEqual(a.denied(), [])
  await Promise.all([a.close(), b.close()])
})

test('who is not on the allow list is put out and comes back', async () => {
  const [a, b] = await cluster(2)
  assert.equal(a.allowed(), undefined)
  assert.equal(await putOut(a, b.id, () => a.setAllowed([])), 'left')
  assert.deepEqual([a.view().size, a.allowed()], [1, []])
  a.allow(b.id)
  assert.ok((await a.waitFor(2, patience())).get(b.id))
  assert.deepEqual(a.allowed(), [b.id])
  await Promise.all([a.close(), b.close()])
})

test('the lists are what the calls make them', async () => {
  const [node] = await cluster(1)
  const [x, y] = strangers(2)
  node.setAllowed([x].values())
  assert.deepEqual(node.allowed(), [x])
  node.allow(new Set([y]))
  assert.deepEqual(node.allowed().sort(), [x, y].sort())
  node.disallow([x, y])
  // Nobody, which is not everybody.
  assert.deepEqual(node.allowed(), [])
  node.allowAll()
  assert.equal(node.allowed(), undefined)
  node.disallow(x)
  node.allow([])
  assert.equal(node.allowed(), undefined)
  node.deny([x, y])
  node.undeny(x)
  assert.deepEqual(node.denied(), [y])
  node.setDenied([x])
  // What is refused changes nothing.
  assert.throws(() => node.deny([y, 'me']), { code: 'Address' })
  assert.deepEqual(node.denied(), [x])
  await node.close()
})

test('the options are the lists of a start', async () => {
  const [x, y] = strangers(2)
  const [node] = await cluster(1)
  const other = await Node.start(options({ namespace: node.namespace, allow: x, deny: new Set([y]) }))
  assert.deepEqual([other.allowed(), other.denied()], [[x], [y]])
  await assert.rejects(other.connect(node.info(), patience()), { code: 'Unreachable' })
  await other.close()
  const key = Key.generate()
  const itself = Node.start(options({ key, deny: [key.peer] }))
  await assert.rejects(itself, error => error.code === 'Config' && error.message.includes(key.peer))
  // None of them is no list.
  const open = await Node.start(options({ allow: [], deny: [] }))
  assert.deepEqual([open.allowed(), open.denied()], [undefined, []])
  await open.close()
  await node.close()
})
