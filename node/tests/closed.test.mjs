// Every call after close, and every call twice.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Key, Node } from 'casm-p2p'
import { cluster, options } from 'casm-p2p/testing'
import { patience } from './helpers.mjs'

/** The same node, which serves something. */
function served(node) {
  if (node.services().length === 0) node.serve('echo', request => request.data)
  return node
}

/** A call that a node refuses that has none. */
function withoutAuthorities(call) {
  try {
    call()
    assert.fail('it works')
  } catch (error) {
    if (!['Config', 'Invalid'].includes(error.code)) throw error
  }
}

const CALLS = {
  serve: node => node.serve(`s${node.services().length}`, () => {}),
  serveStream: node => node.serveStream(`s${node.services().length}`, () => []),
  call: node => served(node).call('echo'),
  callAll: node => node.callAll('echo'),
  callStream: node => node.callStream('echo'),
  services: node => node.services(),
  serviceStats: node => served(node).serviceStats('echo'),
  topic: node => node.topic('news'),
  addrs: node => node.addrs(),
  info: node => node.info(),
  view: node => node.view(),
  waitFor: node => node.waitFor(1, patience()),
  viewOf: node => node.viewOf(Key.generate().peer),
  events: node => node.events(),
  on: node => node.on('event', () => {}),
  subscribe: node => node.subscribe(),
  watch: node => node.watch(undefined, () => {}),
  findPeers: node => node.findPeers({ limit: 1, timeout: 100 }),
  advertise: node => node.advertise('other', 1000),
  connect: node => node.connect({ id: Key.generate().peer, addrs: [] }),
  openStream: node => node.openStream(Key.generate().peer, '/x/1'),
  onStream: node => node.onStream(`/${Key.generate().peer}`, () => {}),
  connected: node => node.connected(),
  peerStatus: node => node.peerStatus(node.id),
  reachability: node => node.reachability(),
  setMeta: node => node.setMeta({}),
  updateMeta: node => node.updateMeta({}),
  setHost: node => node.setHost('h'),
  setTtl: node => node.setTtl(10_000),
  isPaused: node => node.isPaused(),
  pause: node => node.pause(),
  resume: node => node.resume(),
  channel: node => node.channel('c'),
  openChannel: node => node.openChannel('c', Key.generate().peer),
  semaphore: node => node.semaphore('s', 1),
  openSemaphore: node => node.openSemaphore('s', Key.generate().peer),
  allow: node => node.allow(node.id),
  disallow: node => node.disallow(node.id),
  allowAll: node => node.allowAll(),
  setAllowed: node => node.setAllowed([]),
  allowed: node => node.allowed(),
  deny: node => node.deny([Key.generate().peer]),
  undeny: node => node.undeny([]),
  setDenied: node => node.setDenied([]),
  denied: node => node.denied(),
  renew: node => withoutAuthorities(() => node.renew(new Uint8Array())),
  revoke: node => withoutAuthorities(() => node.revoke(new Uint8Array())),
  metrics: node => node.metrics(),
  metricsSnapshot: node => node.metricsSnapshot(),
}

const STAYS = ['id', 'namespace', 'closed', 'close', 'off', 'ref', 'unref']

test('every call is in this test', () => {
  const classes = [Node.prototype, Object.getPrototypeOf(Node.prototype)]
  const names = classes.flatMap(Object.getOwnPropertyNames).filter(name => name !== 'constructor')
  assert.deepEqual(names.sort(), [...Object.keys(CALLS), ...STAYS].sort())
})

for (const [name, call] of Object.entries(CALLS)) {
  test(`every call works twice and throws Closed after close: ${name}`, async () => {
    const [node] = await cluster(1)
    for (let attempt = 0; attempt < 2; attempt++) {
      await (async () => call(node))().catch(error => {
        assert.ok(['connect', 'viewOf', 'openStream', 'openChannel', 'openSemaphore'].includes(name), error)
        assert.equal(error.code, 'NotFound')
      })
    }
    await node.close()
    for (let attempt = 0; attempt < 2; attempt++) {
      await assert.rejects(async () => call(node), { name: 'CasmError', code: 'Closed', message: /the node is closed/ })
    }
  })
}

test('close is idempotent, and what names the node stays', async () => {
  const node = await Node.start(options())
  assert.equal(node.closed, false)
  await Promise.all([node.close(), node.close()])
  await node.close()
  assert.ok(node.closed && node.id && node.namespace)
  node.ref().unref()
})

test('a wait ends with Closed when the node is closed', async () => {
  const [node] = await cluster(1)
  const wait = assert.rejects(node.waitFor(100), { code: 'Closed' })
  const next = node.events().next()
  await node.close()
  await wait
  assert.deepEqual((await next).done, true)
})

test('a stream ends when it is cancelled, also for one who waits', async () => {
  const [node] = await cluster(1)
  const stream = node.subscribe('host:nobody')
  const next = stream.next()
  stream.cancel()
  assert.deepEqual(await next, { done: true, value: undefined })
  assert.deepEqual(await stream.next(), { done: true, value: undefined })
  assert.equal(stream.dropped, 0)
  await node.close()
})
