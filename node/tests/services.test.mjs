// Services: handlers that answer, throw, hang, or give what is no answer.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Answer, CasmError, ServiceRequest } from 'casm-p2p'
import { cluster } from 'casm-p2p/testing'
import { patience, run, until } from './helpers.mjs'

const text = bytes => Buffer.from(bytes).toString()
const code = expected => error => {
  assert.ok(error instanceof CasmError, error)
  assert.equal(error.code, expected, error.message)
  return true
}
/** A test with so many nodes, which are closed at its end. */
const among = (n, name, body) =>
  test(name, async () => {
    const nodes = await cluster(n)
    try {
      await body(...nodes)
    } finally {
      await nodes[Symbol.asyncDispose]()
    }
  })
const sees = (node, service, n = 1) => node.waitFor(n, { query: `service:${service}`, ...patience() })

among(2, 'a peer is named in any way', async (a, b) => {
  b.serve('echo', request => request.data)
  const jobs = b.channel('jobs', { capacity: 8 })
  await b.semaphore('leader', 8)
  await sees(a, 'echo')
  for (const peer of [a.view().get(b.id), b.info(), b.id, b.addrs(), b.addrs()[0]]) {
    assert.equal(text(await a.call('echo', Buffer.from('hi'), { peer })), 'hi')
    await (await a.openChannel('jobs', peer, patience())).send(Buffer.from('x'))
    assert.equal(text(await jobs.recv(patience())), 'x')
    await a.openSemaphore('leader', peer, patience())
  }
  await assert.rejects(a.call('echo', undefined, { peer: 7 }), TypeError)
  await assert.rejects(a.openChannel('jobs', null), TypeError)
})

among(2, 'a service is called with what it is given', async (a, b) => {
  const serving = b.serve(
    'shout',
    async request => {
      assert.ok(request instanceof ServiceRequest && [a.id, b.id].includes(request.peer))
      assert.ok(request.deadline > Date.now() && request.deadline < Date.now() + 11_000)
      assert.equal(request.cancelled, false)
      return Buffer.from(text(request.data).toUpperCase() + (request.headers.k ?? ''))
    },
    { version: '2', maxInflight: 8 },
  )
  await sees(a, 'shout')
  const record = a.view().get(b.id)
  assert.deepEqual(record.services, { shout: '2' })
  assert.deepEqual([record.channels, record.meta], [[], {}])
  assert.equal(text(await a.call('shout', Buffer.from('hi'))), 'HI')
  assert.equal(text(await a.call('shout', Buffer.from('hi'), { headers: { k: 'v' }, peer: record })), 'HIv')
  assert.equal((await b.call('shout')).length, 0)
  const { calls, failures, inFlight, seconds } = b.serviceStats('shout')
  assert.deepEqual([calls, failures, inFlight], [3, {}, 0])
  assert.ok(seconds >= 0)
  assert.deepEqual([b.services(), serving.name], [['shout'], 'shout'])
  assert.equal(a.view().lookup({ match: { service: 'shout' } }).peer, b.id)
  serving.stop()
  await assert.rejects(a.call('shout', undefined, { peer: b.id }), code('NotFound'))
})

among(2, 'without certificates, a service for a role is for its own node alone', async (a, b) => {
  b.serve('one', request => request.data, { allow: 'worker' })
  b.serve('two', request => request.data, { allow: ['admin', 'worker'] })
  b.serveStream('parts', async function* ({ data }) { yield data }, { allow: 'worker' })
  await sees(a, 'parts')
  const record = a.view().get(b.id)
  assert.deepEqual([record.roles, record.toJSON().roles], [[], []])
  for (const query of ['role:worker', { match: { role: 'worker' } }, { from: { role: 'a' }, to: { role: 'z' } }]) {
    assert.equal(a.view().count(query), 0)
  }
  await assert.rejects(a.call('one', undefined, { peer: b.id }), error => code('NotFound')(error) && /`worker`/.test(error.message))
  await assert.rejects(a.call('two'), error => code('NotFound')(error) && /`admin` or `worker`/.test(error.message))
  await assert.rejects(a.callStream('parts').next(), code('NotFound'))
  assert.equal(text(await b.call('one', Buffer.from('x'))), 'x')
  assert.deepEqual(b.serviceStats('one').failures, { notFound: 1 })
  assert.throws(() => b.serve('bad', () => {}, { allow: ['two words'] }), code('Config'))
  assert.throws(() => b.serve('bad', () => {}, { allow: 3 }), TypeError)
  await assert.rejects((await a.viewOf(b.id, patience())).count('role:worker'), code('Invalid'))
})

among(2, 'an answer has headers, and says whose it is', async (a, b) => {
  b.serve('plain', request => request.data)
  b.serve('along', async ({ data, headers }) => new Answer(Buffer.from(text(data).toUpperCase()), headers))
  // Who gives what a call gave hands its headers on.
  b.serve('on', request => b.call('along', request.data, { headers: { k: 'v' } }))
  const to = { peer: b.id }
  const plain = await a.call('plain', Buffer.alloc(1000, 'x'), to)
  assert.ok(plain instanceof Answer && plain instanceof Uint8Array)
  assert.deepEqual([text(plain), plain.headers, plain.peer], ['x'.repeat(1000), {}, b.id])
  const along = await a.call('along', Buffer.from('hi'), { headers: { k: 'v', é: 'é' }, ...to })
  assert.deepEqual([text(along), along.headers, along.peer], ['HI', { k: 'v', é: 'é' }, b.id])
  assert.equal(along.slice(1).constructor, Uint8Array)
  assert.deepEqual((await a.call('on', Buffer.from('x'), to)).headers, { k: 'v' })
  await sees(a, 'along')
  for await (const reply of a.callAll('along', undefined, { headers: { k: 'v' } })) assert.deepEqual(reply.headers, { k: 'v' })

  const data = Buffer.from('own')
  const own = new Answer(data)
  assert.deepEqual([own.buffer === data.buffer, text(own), own.headers, own.peer], [true, 'own', {}, undefined])
  assert.throws(() => new Answer('text'), TypeError)
  assert.throws(() => new Answer(data, { k: 1 }), TypeError)

  for (const [headers, kind] of [
    [Object.fromEntries(Array.from({ length: 17 }, (_, n) => [n, ''])), 'TooLarge'],
    [{ k: 'v'.repeat(4096) }, 'TooLarge'],
    [{ '': 'v' }, 'Remote'],
  ]) {
    const serving = b.serve('wrong', () => new Answer(data, headers))
    await assert.rejects(a.call('wrong', undefined, to), error => code(kind)(error) && /headers/.test(error.message))
    serving.stop()
  }
})

among(2, 'what a handler throws is told without its stack', async (a, b) => {
  const silenced = console.error
  const logged = []
  console.error = (...args) => logged.push(args)
  try {
    for (const [name, handler, said] of [
      ['throws', () => { throw new Error('no luck') }, /^no luck$/],
      ['rejects', async () => { throw new RangeError('nor here') }, /^nor here$/],
      ['string', () => { throw 'plain' }, /^plain$/],
      ['wrong', () => 'text', /a Uint8Array/],
    ]) {
      b.serve(name, handler)
      await assert.rejects(a.call(name, undefined, { peer: b.id }), error => {
        assert.match(error.message, said)
        return code('Remote')(error)
      })
    }
  } finally {
    console.error = silenced
  }
  assert.equal(logged.length, 4)
  b.serve('large', () => new Uint8Array((1 << 20) + 1))
  await assert.rejects(a.call('large', undefined, { peer: b.id }), code('TooLarge'))
  b.serve('nothing', () => {})
  assert.equal((await a.call('nothing', undefined, { peer: b.id })).length, 0)
})

among(1, 'what is not acceptable is refused', async (a) => {
  assert.throws(() => a.serve('a b', () => {}), code('Config'))
  assert.throws(() => a.serve('x', 3), TypeError)
  assert.throws(() => a.serve('x', () => {}, { workers: 3 }), TypeError)
  await assert.rejects(a.call('x', 'text'), TypeError)
  await assert.rejects(a.call('x', new Uint8Array((1 << 20) + 1)), code('TooLarge'))
  await assert.rejects(a.call('x', undefined, { timeout: 0 }), code('Config'))
  await assert.rejects(a.call('x', undefined, { where: 'role=w' }), code('Config'))
  await assert.rejects(a.call('x'), code('NotFound'))
  await assert.rejects(a.setMeta({ 'svc.x': '1' }), code('Config'))
  a.serve('x', () => {})
  assert.throws(() => a.serve('x', () => {}), code('Busy'))
})

among(2, 'a handler hears that nobody waits any more', async (a, b) => {
  let [begun, aborted] = [0, 0]
  b.serve('stuck', request => new Promise((_, reject) => {
    begun++
    request.signal.addEventListener('abort', () => {
      assert.equal(request.cancelled, true)
      aborted++
      reject(request.signal.reason)
    })
  }))
  for (const limit of [() => ({ timeout: 100 }), () => ({ timeout: Infinity, signal: AbortSignal.timeout(100) })]) {
    const before = begun
    // Of some calls the time is over before they are there.
    do {
      await assert.rejects(a.call('stuck', undefined, { peer: b.id, ...limit() }), code('Timeout'))
    } while (begun === before)
    await until(() => aborted === begun)
  }
  await until(() => b.serviceStats('stuck').inFlight === 0)
})

among(2, 'what waited in vain while the thread was busy is not worked on', async (a, b) => {
  let begun = 0
  b.serve('work', request => (begun++, request.data), { maxInflight: 4 })
  const to = { peer: b.id, timeout: 200 }
  assert.equal(text(await a.call('work', Buffer.from('hi'), { peer: b.id })), 'hi')
  const calls = Array.from({ length: 20 }, () => a.call('work', new Uint8Array(1000), to))
  const end = Date.now() + 1000
  while (Date.now() < end);
  const codes = (await Promise.allSettled(calls)).map(({ reason }) => reason?.code)
  assert.ok(codes.every(code => code === 'Timeout' || code === 'Busy'), codes.join())
  await until(() => b.serviceStats('work').inFlight === 0)
  assert.equal(begun, 1)
  assert.ok(b.serviceStats('work').calls <= 5)
})

among(2, 'a request takes its place until its handler has ended', async (a, b) => {
  const ends = []
  b.serve('stuck', () => new Promise(resolve => ends.push(resolve)), { maxInflight: 2 })
  while (ends.length < 2) {
    await assert.rejects(a.call('stuck', undefined, { peer: b.id, timeout: 100 }), code('Timeout'))
  }
  await assert.rejects(a.call('stuck', undefined, { peer: b.id, timeout: 100 }), code('Busy'))
  assert.equal(b.serviceStats('stuck').inFlight, 2)
  ends.pop()()
  await until(() => b.serviceStats('stuck').inFlight === 1)
  ends.pop()()
  await until(() => b.serviceStats('stuck').inFlight === 0)
})

among(2, 'one that is answered takes no place, and its program may keep what was asked', async (a, b) => {
  const kept = []
  b.serve('keeps', request => (kept.push(request), new Uint8Array()), { maxInflight: 1 })
  for (let n = 0; n < 5; n++) await a.call('keeps', Buffer.from('data'), { peer: b.id })
  assert.deepEqual(kept.map(request => text(request.data)), Array(5).fill('data'))
  assert.equal(b.serviceStats('keeps').inFlight, 0)
})

among(2, 'parts come in order, and a reader that goes ends the generator', async (a, b) => {
  let closed = false
  b.serveStream('count', async function* (request) {
    for (let n = 0; n < Number(text(request.data)); n++) yield Buffer.from(String(n))
  })
  b.serveStream('endless', function* () {
    try {
      for (;;) yield new Uint8Array(1000)
    } finally {
      closed = true
    }
  })
  const parts = []
  for await (const part of a.callStream('count', Buffer.from('300'), { peer: b.id })) parts.push(Number(text(part)))
  assert.deepEqual(parts, [...Array(300).keys()])
  for await (const part of a.callStream('endless', undefined, { peer: b.id })) {
    assert.equal(part.length, 1000)
    break
  }
  await until(() => closed)
  await assert.rejects(a.call('count', Buffer.from('1'), { peer: b.id }), code('Invalid'))
  const one = a.callStream('nobody')
  await assert.rejects(one.next(), code('NotFound'))
})

among(2, 'neither parts nor an error are lost when who waits gives up', async (a, b) => {
  let go
  const goes = new Promise(resolve => (go = resolve))
  b.serveStream('breaks', async function* () {
    yield Buffer.from('1')
    await goes
    throw new Error('no more')
  })
  b.serve('after', () => new Uint8Array())
  const parts = a.callStream('breaks', undefined, { peer: b.id })
  const givesUp = async () => {
    const abort = new AbortController()
    const next = parts.next(abort)
    abort.abort()
    await assert.rejects(next, code('Cancelled'))
  }
  await givesUp()
  assert.equal(text((await parts.next()).value), '1')
  await givesUp()
  go()
  // What is answered later comes later.
  await until(() => b.serviceStats('breaks').inFlight === 0)
  await a.call('after', undefined, { peer: b.id })
  await assert.rejects(parts.next(), /no more/)
  assert.equal((await parts.next()).done, true)
})

among(2, 'all are asked, and the end has a reason', async (a, b) => {
  a.serve('who', () => Buffer.from('a'))
  b.serve('who', () => Buffer.from('b'))
  await sees(a, 'who', 2)
  const replies = a.callAll('who')
  const said = new Map()
  for await (const { peer, data } of replies) said.set(peer, text(data))
  assert.deepEqual(said, new Map([[a.id, 'a'], [b.id, 'b']].filter(([id]) => said.has(id))))
  assert.deepEqual([said.size, replies.ended], [2, 'all'])
  const one = a.callAll('who', undefined, { limit: 1 })
  let count = 0
  for await (const _ of one) count++
  assert.deepEqual([count, one.ended], [1, 'limit'])
})

among(2, 'a handler may call its node, and close it', async (a, b) => {
  b.serve('inner', request => request.data)
  b.serve('outer', request => b.call('inner', request.data))
  assert.equal(text(await a.call('outer', Buffer.from('x'), { peer: b.id })), 'x')
  b.serve('die', async () => { await b.close({ grace: 600_000 }) })
  await assert.rejects(a.call('die', undefined, { peer: b.id, ...patience() }), CasmError)
  await until(() => b.closed)
})

among(2, 'a close waits for what was begun', async (a, b) => {
  b.serve('slow', () => new Promise(resolve => setTimeout(resolve, 300, Buffer.from('done'))))
  const answer = a.call('slow', undefined, { peer: b.id })
  await until(() => b.serviceStats('slow').inFlight === 1)
  await b.close()
  assert.equal(text(await answer), 'done')
})

test('a program that serves ends by itself', async () => {
  const { code, err } = await run(`
    const [node] = await cluster(1)
    node.serve('echo', request => request.data)
    await node.call('echo')
  `)
  assert.equal(code, 0, err)
})
