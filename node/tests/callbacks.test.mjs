// Listeners and streams: what they are given, whatever they do.

import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { forwardLogs, Node } from 'casm-p2p'
import { cluster, options } from 'casm-p2p/testing'
import { internal, patience, until } from './helpers.mjs'

const { benchEvents, benchFailed } = internal

test('on gives what the event holds, and event gives the whole', async () => {
  const [a] = await cluster(1, { ttl: 3_600_000 })
  const [joined, whole, left, connected] = [[], [], [], []]
  a.on('peer:joined', record => joined.push(record))
  a.on('connected', event => connected.push(event.peer))
  a.on('event', event => whole.push(event))
  a.on('peer:left', event => left.push(event))
  const b = await Node.start(options({ namespace: a.namespace, meta: { role: 'b' } }))
  await b.connect(a.info(), patience())
  await until(() => joined.length === 1 && connected.length === 1)
  assert.deepEqual([joined[0].peer, joined[0].meta, connected], [b.id, { role: 'b' }, [b.id]])
  await b.close()
  await until(() => left.length === 1)
  assert.deepEqual([left[0].peer, left[0].reason], [b.id, 'left'])
  assert.ok(whole.some(event => event.type === 'peer:joined' && event.record.peer === b.id))
  assert.ok(whole.some(event => event.type === 'disconnected' || event.type === 'peer:left'))
  await a.close()
})

test('a listener that is given at the start hears the first event', async () => {
  const events = []
  let failed = false
  const onEvent = event => {
    events.push(event)
    if (!failed) throw (failed = new Error('as it may'))
  }
  const error = mock.method(console, 'error', () => {})
  const node = await Node.start(options({ onEvent }))
  const other = await Node.start(options({ namespace: node.namespace }))
  await other.connect(node.info(), patience())
  await until(() => events.some(event => event.type === 'connected' && event.peer === other.id))
  assert.deepEqual(events[0], { type: 'listening', peer: node.id, addrs: node.addrs() })
  assert.equal(error.mock.callCount(), 1)
  error.mock.restore()
  node.off('event', onEvent)
  const heard = events.length
  await other.close()
  await until(() => node.connected().length === 0)
  assert.equal(events.length, heard)
  await node.close()
  await assert.rejects(Node.start(options({ onEvent: 3 })), /onEvent/)
})

test('off and cancel end the calls, and so does a close', async () => {
  const [node, other] = await cluster(2)
  const calls = []
  const listener = () => calls.push('off')
  node.on('peer:updated', listener)
  node.on('event', listener)
  node.off('peer:updated', listener)
  node.off('event', listener)
  const cancelled = node.on('peer:updated', () => calls.push('cancelled'))
  cancelled.cancel()
  cancelled.cancel()
  assert.ok(cancelled.cancelled)
  const kept = node.on('peer:updated', () => calls.push('kept'))
  await other.setHost('other')
  await until(() => calls.length > 0)
  await Promise.all([node.close(), other.close()])
  assert.deepEqual([...new Set(calls)], ['kept'])
  assert.ok(kept.cancelled)
})

test('a subscription that nobody holds goes on', async () => {
  const [node, other] = await cluster(2)
  let [events, changes] = [0, 0]
  node.on('event', () => events++)
  node.watch(undefined, () => changes++)
  // --expose-gc is no option of the test runner in every version.
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  ;[events, changes] = [0, 0]
  await other.setHost('other')
  await until(() => events > 0 && changes > 0)
  await Promise.all([node.close(), other.close()])
})

test('a listener may cancel itself in the middle of a batch', async () => {
  const [node] = await cluster(1)
  let calls = 0
  const subscription = node.watch(undefined, () => {
    calls++
    subscription.cancel()
  })
  await until(() => calls > 0)
  await node.close()
  assert.equal(calls, 1)
})

test('a listener that throws is logged and counted, and delivery goes on', async () => {
  const [node, other] = await cluster(2)
  const log = mock.method(console, 'error', () => {})
  try {
    let calls = 0
    const throws = node.on('peer:updated', () => {
      calls++
      throw new Error('thrown by a listener')
    })
    const rejects = node.on('event', async () => {
      throw new Error('thrown by an async listener')
    })
    for (const host of ['x', 'y', 'z']) {
      const before = calls
      await other.setHost(host)
      await until(() => calls > before)
    }
    await until(() => rejects.failed >= 3)
    assert.equal(throws.failed, calls)
    assert.equal(throws.dropped, 0)
    assert.ok(log.mock.calls.some(({ arguments: [text, error] }) =>
      text.includes('peer:updated') && error.message === 'thrown by a listener'))
  } finally {
    log.mock.restore()
  }
  await Promise.all([node.close(), other.close()])
})

test('close works from inside a callback', async () => {
  const [node] = await cluster(1)
  node.ref()
  await new Promise((resolve, reject) => {
    node.watch(undefined, () => node.close().then(resolve, reject))
  })
  assert.ok(node.closed)
})

test('every call works from inside a callback', async () => {
  const [node] = await cluster(1)
  node.ref()
  const size = await new Promise((resolve, reject) => {
    node.watch(undefined, async () => node.waitFor(node.view().size, patience()).then(view => resolve(view.size), reject))
  })
  assert.equal(size, 1)
  await node.close()
})

test('every event of a flood comes, in batches, and none is dropped', async () => {
  const [node] = await cluster(1)
  let calls = 0
  const subscription = benchEvents(node, 100_000, event => {
    assert.equal(event.type, 'peer:updated')
    calls++
  })
  await until(() => calls === 100_000)
  assert.equal(subscription.dropped, 0)
  await node.close()
})

test('a listener is told that a peer has failed', async () => {
  const [node] = await cluster(1)
  const seen = []
  const subscription = benchFailed(node, event => seen.push(event))
  await until(() => seen.length > 0)
  assert.deepEqual(seen.map(({ type, peer, reason }) => [type, peer, reason]), [['peer:left', node.id, 'failed']])
  assert.equal(subscription.dropped, 0)
  await node.close()
})

test('a slow reader loses the oldest, is told how many, and then has the whole picture', async () => {
  const [node] = await cluster(1)
  const changes = node.subscribe()
  // The queue holds 4096.
  for (let n = 0; n < 5000; n++) await node.setMeta({ n: String(n) })
  const seen = []
  while (seen.at(-1)?.record?.meta.n !== '4999') seen.push((await changes.next(patience())).value)
  const gaps = seen.filter(change => change.kind === 'dropped')
  assert.equal(gaps.length, 1)
  assert.ok(gaps[0].count > 0)
  assert.equal(changes.dropped, gaps[0].count)
  assert.equal(seen[seen.indexOf(gaps[0]) + 1].kind, 'current')
  await node.close()
})

test('for await over events ends with the node, and leaving it cancels the stream', async () => {
  const [node] = await cluster(1)
  const events = node.events()
  const reading = (async () => {
    const types = []
    for await (const event of events) types.push(event.type)
    return types
  })()
  const changes = node.subscribe()
  for await (const change of changes) {
    assert.deepEqual([change.kind, change.record.peer], ['current', node.id])
    break
  }
  assert.equal((await changes.next()).done, true)
  await node.setHost('x')
  await node.close()
  assert.ok(Array.isArray(await reading))
})

test('what waits takes an AbortSignal: Timeout or Cancelled, with the reason as cause', async () => {
  const [node] = await cluster(1)
  const timeout = { signal: AbortSignal.timeout(10) }
  await assert.rejects(node.waitFor(100, timeout), error => {
    assert.deepEqual([error.code, error.cause.name], ['Timeout', 'TimeoutError'])
    return true
  })
  const abort = new AbortController()
  const waits = [node.waitFor(100, abort), node.events().next(abort), node.subscribe('host:x', abort).next()]
  const reason = new Error('enough')
  abort.abort(reason)
  // All at once: one that is rejected before somebody waits for it ends the process.
  await Promise.all(waits.map(wait => assert.rejects(wait, { code: 'Cancelled', cause: reason })))
  await assert.rejects(node.waitFor(1, abort), { code: 'Cancelled' })
  await assert.rejects(Node.start(options(), abort), { code: 'Cancelled' })
  await node.close()
})

test('what a next that was called off would have got is for the one after it', async () => {
  const [node] = await cluster(1)
  const changes = node.subscribe('host:later')
  const abort = new AbortController()
  const first = changes.next(abort)
  abort.abort()
  await assert.rejects(first, { code: 'Cancelled' })
  await node.setHost('later')
  assert.equal((await changes.next(patience())).value.kind, 'joined')
  await node.close()
})

test('many calls at once', async () => {
  const [node] = await cluster(1)
  const views = await Promise.all(Array.from({ length: 1000 }, () => node.waitFor(1)))
  assert.equal(views.length, 1000)
  await node.close()
})

test('logging: set-up is idempotent, and a sink that throws is called again', async () => {
  const log = mock.method(console, 'error', () => {})
  const records = []
  try {
    forwardLogs('error', () => assert.fail('this one was replaced'))
    forwardLogs('debug', record => {
      records.push(record)
      throw new Error('thrown by a sink')
    })
    forwardLogs('debug', record => {
      records.push(record)
      throw new Error('thrown by a sink')
    })
    const [node] = await cluster(1)
    // Each of them is told of: nobody listens there.
    for (let dial = 0; dial < 2; dial++) {
      await assert.rejects(node.connect('/ip4/127.0.0.1/tcp/1'), { code: 'Unreachable' })
    }
    await until(() => records.length > 1)
    await node.close()
    forwardLogs('off')
  } finally {
    log.mock.restore()
  }
  assert.ok(records.every(record => record.level && record.target && typeof record.message === 'string'))
})
