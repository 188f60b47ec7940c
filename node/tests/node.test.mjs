// The node and its view: what works when all is well.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { Key, Node } from 'casm-p2p'
import { cluster, options } from 'casm-p2p/testing'
import { internal, patience, until } from './helpers.mjs'

test('two nodes see each other, and each other\'s meta', async () => {
  const given = options({ meta: { role: 'a', zone: 'z' }, host: 'here' })
  const a = await Node.start(given)
  const b = await Node.start({ ...given, meta: { role: 'b' } })
  assert.equal(await b.connect(a.info(), patience()), a.id)
  const view = await b.waitFor(2, patience())
  assert.equal(view.size, 2)
  const record = view.get(a.id)
  assert.deepEqual(record.meta, { role: 'a', zone: 'z' })
  assert.equal(record.host, 'here')
  assert.equal(record.ttl, 10_000)
  assert.deepEqual([b.connected(), a.namespace], [[a.id], b.namespace])
  assert.ok(a.addrs().every(addr => addr.endsWith(`/p2p/${a.id}`)))
  assert.match(inspect(a), /^Node { 12D3/)
  assert.match(inspect(record), /^Record {.*host: 'here'/s)
  await Promise.all([a.close(), b.close()])
  assert.ok(a.closed && b.closed)
})

test('numbers of 64 bits are bigints, and strings in JSON', async () => {
  const [node] = await cluster(1)
  const record = node.view().get(node.id)
  assert.equal(typeof record.seq, 'bigint')
  assert.equal(typeof record.server, 'bigint')
  const json = JSON.parse(JSON.stringify(record))
  assert.equal(json.seq, record.seq.toString())
  assert.match(json.server, /^[0-9a-f]{16}$/)
  assert.equal(node.view().lookup({ match: { server: record.server } }).peer, node.id)
  await node.close()
})

test('queries: match, prefix, from, to, limit, reverse', async () => {
  const first = await Node.start(options({ host: 'web-1', meta: { role: 'worker' } }))
  const names = { namespace: first.namespace }
  const nodes = [
    first,
    await Node.start(options({ ...names, host: 'web-2', meta: { role: 'worker' } })),
    await Node.start(options({ ...names, host: 'db-1', meta: { role: 'store' } })),
  ]
  for (const node of nodes.slice(1)) await node.connect(first.info(), patience())
  const view = await first.waitFor(3, patience())
  const hosts = query => [...view.iter(query)].map(record => record.host)
  assert.deepEqual(hosts({ match: { meta: ['role', 'worker'] } }).sort(), ['web-1', 'web-2'])
  assert.deepEqual(hosts('host:db-1'), ['db-1'])
  assert.deepEqual(hosts({ match: { host: 'web-' }, prefix: true }), ['web-1', 'web-2'])
  assert.deepEqual(hosts({ match: { host: 'web' } }), [])
  assert.deepEqual(hosts({ from: { host: 'db-1' }, to: { host: 'web-1' } }), ['db-1', 'web-1'])
  assert.deepEqual(hosts({ from: 'host:db-1', reverse: true, limit: 2 }).length, 1)
  assert.deepEqual(hosts({ match: { host: 'web-' }, prefix: true, reverse: true, limit: 1 }), ['web-2'])
  assert.equal(view.count({ match: { peer: first.id } }), 1)
  assert.equal(view.count(), 3)
  assert.equal([...view].length, 3)
  assert.equal(view.lookup('host:nobody'), undefined)
  assert.equal(view.get(Key.generate().peer), undefined)
  await Promise.all(nodes.map(node => node.close()))
})

test('what a node says of itself can be changed', async () => {
  const [a, b] = await cluster(2, { ttl: 3_600_000 })
  const changes = a.subscribe('meta:role=worker')
  await b.setMeta({ role: 'worker' })
  const { value: joined } = await changes.next(patience())
  assert.deepEqual([joined.kind, joined.record.peer], ['joined', b.id])
  await b.setHost('elsewhere')
  const { value: updated } = await changes.next(patience())
  assert.deepEqual([updated.kind, updated.record.host], ['updated', 'elsewhere'])
  await b.setTtl(60_000)
  // Another TTL alone is no change, and the view has it.
  await until(() => a.view().get(b.id).ttl === 60_000)
  await b.close()
  const { value: left } = await changes.next(patience())
  assert.deepEqual([left.kind, left.record.peer], ['left', b.id])
  await a.close()
  assert.deepEqual(await changes.next(), { done: true, value: undefined })
})

test('a change of meta sets and removes, and a wait counts what a query finds', async () => {
  const [node] = await cluster(1)
  await node.updateMeta({ a: '1', b: '2' })
  await node.updateMeta({ a: null, c: '3' })
  const view = await node.waitFor(1, { query: 'meta:c=3', ...patience() })
  assert.deepEqual({ ...view.get(node.id).meta }, { b: '2', c: '3' })
  await assert.rejects(node.waitFor(1, { query: { match: 'meta:a=1' }, signal: AbortSignal.timeout(10) }), { code: 'Timeout' })
  await node.close()
})

test('the view of another node is asked for', async () => {
  const [a, b] = await cluster(2)
  const view = await a.viewOf(b.id, patience())
  assert.equal(view.peer, b.id)
  const peers = []
  for await (const record of view.iter()) peers.push(record.peer)
  assert.deepEqual(peers.sort(), [a.id, b.id].sort())
  assert.equal((await view.get(a.id, patience())).peer, a.id)
  assert.equal(await view.lookup('host:nobody', patience()), undefined)
  assert.deepEqual([await view.count(), await view.count('host:nobody')], [2, 0])
  await a.close()
  await assert.rejects(view.count(), { code: 'Closed' })
  await b.close()
})

test('metrics as text and as a snapshot', async () => {
  const [node] = await cluster(1)
  assert.match(node.metrics(), /# EOF\n$/)
  assert.equal(node.metricsSnapshot().casm_cluster_peers, 1)
  await node.close()
})

test('a key gives a node its identity, also from a file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'casm-'))
  try {
    const file = join(folder, 'key')
    const key = Key.generate()
    key.save(file)
    assert.equal(statSync(file).mode & 0o777, 0o600)
    assert.equal(Key.load(file).peer, key.peer)
    for (const given of [key, file]) {
      const node = await Node.start(options({ key: given }))
      assert.equal(node.id, key.peer)
      await node.close()
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('what is to outlast a node is kept in its data folder', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'casm-'))
  try {
    const given = options({ pexTick: 100, limits: { connections: 64, connectionsPerPeer: 2, pending: 8, memory: 1, rpc: { calls: 64, idle: 60_000 } } })
    const a = await Node.start({ ...given, data: join(folder, 'a') })
    const b = await Node.start(given)
    // Asked for before it can have happened: it may happen once.
    const events = a.events(patience())
    await b.connect(a.info(), patience())
    for await (const event of events) if (event.type === 'view:changed') break
    await Promise.all([a.close(), b.close()])
    assert.ok(statSync(join(folder, 'a')).isDirectory())
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('peers are found, and a node is advertised, in another namespace', async () => {
  const { createSocket } = await import('node:dgram')
  // A port that is free now; the node takes it at once.
  const socket = createSocket('udp4').bind(0, '127.0.0.1')
  await new Promise(resolve => socket.once('listening', resolve))
  const { port } = socket.address()
  await new Promise(resolve => socket.close(resolve))
  const addr = `/ip4/127.0.0.1/udp/${port}`
  const a = await Node.start(options({ serve: addr }))
  const b = await Node.start(options({ boot: addr }))
  await a.advertise('elsewhere', 60_000)
  const found = b.findPeers({ namespace: 'elsewhere', limit: 1, timeout: 60_000 })
  const { value } = await found.next(patience())
  assert.equal(value.peer.id, a.id)
  assert.ok(value.source.includes(String(port)) && value.peer.addrs.length > 0)
  assert.equal((await found.next()).done, true)
  await Promise.all([a.close(), b.close()])
})

test('what is announced is told beside what is found, or alone', async () => {
  const mapped = '/ip4/203.0.113.7/tcp/4001'
  const beside = await Node.start(options({ announce: mapped }))
  assert.deepEqual([beside.info().addrs[0], beside.info().addrs.length], [mapped, 2])
  const alone = await Node.start(options({ announce: [mapped], announceOnly: true }))
  assert.deepEqual(alone.addrs(), [`${mapped}/p2p/${alone.id}`])
  await Promise.all([beside.close(), alone.close()])
})

test('await using closes the node', async () => {
  const node = await Node.start(options())
  assert.equal(typeof node[Symbol.asyncDispose], 'function')
  await node[Symbol.asyncDispose]()
  assert.ok(node.closed)
})

test('every record of a long view is read as it was said, in any order', async () => {
  const hosts = ['', 'a', 'größer', '𝄞 and more', 'x'.repeat(255)]
  const metas = [{}, { role: 'worker' }, { rolew: 'orker' }, { 'ключ': '値𝄞=', empty: '' }, { ['__proto__']: 'a key' }]
  const nodes = await Promise.all(
    hosts.map((host, n) => Node.start(options({ namespace: 'long', host: host || undefined, meta: metas[n] }))),
  )
  await Promise.all(nodes.slice(1).map(node => node.connect(nodes[0].info(), patience())))
  const view = await nodes[0].waitFor(nodes.length, patience())
  for (const [n, node] of nodes.entries()) {
    const { host, meta, peer } = view.get(node.id)
    assert.deepEqual([peer, meta, Object.keys(meta)], [node.id, metas[n], Object.keys(metas[n]).sort()])
    if (hosts[n]) assert.equal(host, hosts[n])
  }
  await Promise.all(nodes.map(node => node.close()))

  // More than are fetched together; those of one view, read one by one.
  const many = internal.benchView(1000)
  const records = [...many.iter()]
  const alone = record => many.get(record.peer)
  for (const n of [999, 0, 128, 127, 129, 500, 255, 256]) {
    const [record, single] = [records[n], alone(records[n])]
    assert.deepEqual([record.peer, record.host, record.meta], [single.peer, single.host, single.meta])
    assert.equal(record.meta, record.meta)
    assert.notEqual(record.meta, single.meta)
  }
  assert.equal(new Set(records.map(record => record.peer)).size, 1000)
  // What is written into one is in no other.
  const [first, second] = records.filter(record => record.meta.role === 'worker')
  first.meta.role = 'other'
  assert.equal(second.meta.role, 'worker')
})
