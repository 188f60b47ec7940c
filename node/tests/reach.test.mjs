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

test('a peer is reached over a relay, unless it uses none', async () => {
  const relayLimits = { reservations: 2, circuits: 4, circuitBytes: 2 ** 32, circuitTime: 3_600_000 }
  const relay = await Node.start(options({ relay: true, relayLimits }))
  // The relay knows no address at which it reaches these: they come to it over TCP, and
  // listen on QUIC alone. Each is in a namespace of its own: they don't hear of each other,
  // nor meet over QUIC.
  const listen = '/ip4/127.0.0.1/udp/0/quic-v1'
  const alone = await Node.start(options({ listen, useRelays: false, upnp: false }))
  const node = await Node.start(options({ listen }))
  const other = await Node.start(options())
  const [changes, events] = [node.events(patience()), other.events(patience())]
  for (const one of [alone, node]) assert.equal(await one.connect(relay.info(), patience()), relay.id)
  let over
  for await (const event of changes) {
    if (event.type !== 'reachability:changed') continue
    over = event.reachability.addrs.find(({ found }) => found === 'relay')?.addr
    if (!over) continue
    assert.equal(event.reachability.reach, 'private')
    break
  }
  assert.ok(over?.endsWith(`/p2p/${relay.id}/p2p-circuit`), over)
  assert.equal(await other.connect(`${over}/p2p/${node.id}`, patience()), node.id)
  let relayed
  for await (const event of events) {
    relayed = event.type === 'relayed' && event.peer === node.id
    if (relayed) break
  }
  assert.ok(relayed)
  // It was there before, and asked for nothing.
  assert.deepEqual(alone.reachability().addrs, [])
  await Promise.all([relay, alone, node, other].map(one => one.close()))
})

test('the events of it are there to listen to', async () => {
  const node = await Node.start(options())
  for (const name of ['relayed', 'direct', 'reachability:changed']) {
    assert.ok(internal.EVENT_NAMES.includes(name))
    node.on(name, () => {}).cancel()
  }
  await node.close()
})
