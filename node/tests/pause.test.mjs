// Pauses, and the profile for batteries.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Node } from 'casm-p2p'
import { cluster, options } from 'casm-p2p/testing'
import { patience } from './helpers.mjs'

test('a paused node is gone for others, and comes back with what it kept', async () => {
  const [a, b] = await cluster(2)
  const left = new Promise(resolve => b.on('peer:left', resolve))
  const changes = a.subscribe()
  for (let n = 0; n < 2; n++) assert.equal((await changes.next()).value.kind, 'current')
  await a.pause(patience())
  assert.ok(a.isPaused())
  assert.deepEqual([a.addrs(), a.connected()], [[], []])
  const { peer, reason } = await left
  assert.deepEqual([peer, reason], [a.id, 'left'])
  await assert.rejects(a.connect(b.info()), { name: 'CasmError', code: 'Paused', message: /resume it first/ })
  const data = Buffer.from('hi')
  const calls = [
    () => a.viewOf(b.id),
    () => a.call('shout', data, { timeout: Infinity, wait: true }),
    () => a.topic('news').publish(data),
    () => a.openStream(b.id, '/shout/1'),
    () => a.openChannel('jobs', b.id),
  ]
  for (const call of calls) await assert.rejects(call, { code: 'Paused' })
  await assert.rejects(a.findPeers({ limit: 1 }).next(), { code: 'Paused' })
  assert.equal(a.view().size, 2)
  await a.setMeta({ life: '2' })
  await a.resume(patience())
  assert.ok(!a.isPaused() && a.addrs().length > 0)
  const view = await b.waitFor(1, { query: 'meta:life=2', ...patience() })
  assert.deepEqual(view.get(a.id).meta, { life: '2' })
  assert.equal((await changes.next()).value.record.peer, a.id)
  await Promise.all([a.close(), b.close()])
})

test('with low power what is left out is the profile\'s', async () => {
  const node = await Node.start(options({ power: 'low' }))
  assert.equal(node.view().get(node.id).ttl, 600_000)
  await node.close()
  const given = await Node.start(options({ power: 'low', ttl: 20_000 }))
  assert.equal(given.view().get(given.id).ttl, 20_000)
  await given.close()
})

test('the TTL is adapted to a budget unless the pace is fixed', async () => {
  // One heartbeat in a second, of a node that sends one after 0.3 of its TTL.
  for (const [given, ttl] of [[{ budget: 1 }, 3334], [{}, 1000], [{ budget: 1, pace: 'fixed' }, 1000]]) {
    const node = await Node.start(options({ ttl: 1000, ...given }))
    assert.equal(node.view().get(node.id).ttl, ttl)
    await node.close()
  }
})
