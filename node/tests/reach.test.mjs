// Whether others can reach a node, and relays.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Node } from 'casm-p2p'
import { options } from 'casm-p2p/testing'
import { internal, patience } from './helpers.mjs'

test('who announces an address is public, and of others nothing is known', async () => {
  const addr = '/ip4/203.0.113.7/tcp/4001'
  const node = await Node.start(options({ announce: addr }))
  assert.deepEqual(node.reachability(), { reach: 'public', addrs: [{ addr, found: 'announced' }] })
  const fresh = await Node.start(options())
  assert.deepEqual(fresh.reachability(), { reach: 'unknown', addrs: [] })
  await Promise.all([node.close(), fresh.close()])
})

test('a relay, and one that uses none, connect as any node does', async () => {
  const relayLimits = { reservations: 2, circuits: 4, circuitBytes: 2 ** 32, circuitTime: 60_000 }
  const relay = await Node.start(options({ relay: true, relayLimits }))
  const node = await Node.start(options({ namespace: relay.namespace, useRelays: false, upnp: false }))
  assert.equal(await node.connect(relay.info(), patience()), relay.id)
  assert.ok((await node.waitFor(2, patience())).get(relay.id))
  await Promise.all([relay.close(), node.close()])
})

test('the events of it are there to listen to', async () => {
  const node = await Node.start(options())
  for (const name of ['relayed', 'direct', 'reachability:changed']) {
    assert.ok(internal.EVENT_NAMES.includes(name))
    node.on(name, () => {}).cancel()
  }
  await node.close()
})
