// Channels, select and semaphores.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { select } from 'casm-p2p'
import { cluster } from 'casm-p2p/testing'
import { PATIENCE, patience, run } from './helpers.mjs'

const text = value => Buffer.from(value).toString()
const within = { timeout: PATIENCE }

/** Two nodes, a channel where it is, and as the other sees it. */
async function channels(capacity = 4) {
  const nodes = await cluster(2)
  const [here, there] = nodes
  const own = here.channel('jobs', { capacity })
  return { nodes, own, other: await there.openChannel('jobs', here.id, patience()) }
}

const close = nodes => Promise.all(nodes.map(node => node.close()))

test('values go from node to node, and end with the channel', async () => {
  const { nodes, own, other } = await channels()
  assert.deepEqual([own.name, other.name, own.owner], ['jobs', 'jobs', other.owner])
  for (const value of ['1', '2', '3']) await other.send(Buffer.from(value), within)
  assert.equal(own.waiting, 3)
  assert.equal(other.waiting, undefined)
  await own.close()
  const got = []
  for await (const value of other) got.push(text(value))
  assert.deepEqual(got, ['1', '2', '3'])
  await assert.rejects(other.send(Buffer.from('late')), { code: 'Closed' })
  await assert.rejects(own.close(), { code: 'Closed' })
  await close(nodes)
})

test('a channel is found by its name', async () => {
  const { nodes, own } = await channels()
  const [here, there] = nodes
  await there.waitFor(1, { query: 'channel:jobs', ...patience() })
  const jobs = await there.openChannel('jobs', undefined, patience())
  assert.equal(jobs.owner, here.id)
  await jobs.send(Buffer.from('x'), within)
  assert.equal(text(await own.recv(within)), 'x')
  there.channel('jobs')
  await assert.rejects(there.openChannel('jobs'), error => error.code === 'Invalid' && error.message.includes(here.id))
  await assert.rejects(there.openSemaphore('nobodys'), { code: 'NotFound' })
  await close(nodes)
})

test('deadlines and bad values', async () => {
  const { nodes, own, other } = await channels(1)
  for (const channel of [own, other]) {
    await assert.rejects(channel.recv({ timeout: 50 }), { code: 'Timeout' })
    await assert.rejects(channel.take({ timeout: 50 }), { code: 'Timeout' })
    await assert.rejects(channel.send('text'), TypeError)
    await assert.rejects(channel.recv({ timeuot: 50 }), TypeError)
    await assert.rejects(channel.send(new Uint8Array((1 << 20) + 1)), { code: 'TooLarge' })
    await assert.rejects(channel.recv({ signal: AbortSignal.timeout(20) }), { code: 'Timeout' })
  }
  // One of which nobody wanted a value yet.
  const narrow = nodes[0].channel('narrow', { capacity: 1 })
  const elsewhere = await nodes[1].openChannel('narrow', own.owner, patience())
  await narrow.send(Buffer.from('x'))
  for (const channel of [narrow, elsewhere]) {
    await assert.rejects(channel.send(Buffer.from('full'), { timeout: 50 }), { code: 'Timeout' })
  }
  await assert.rejects(other.close(), { code: 'Invalid' })
  await assert.rejects(nodes[1].openChannel('none', nodes[0].id), { code: 'NotFound' })
  await close(nodes)
})

test('a receive that is called off loses nothing, however late', async () => {
  const { nodes, own, other } = await channels()
  for (let n = 0; n < 60; n++) {
    const abort = new AbortController()
    const receiving = other.recv({ signal: abort.signal })
    if (n % 3) await new Promise(resolve => setTimeout(resolve, n % 5))
    await own.send(Buffer.from(`${n}`))
    if (n % 2) await new Promise(resolve => setTimeout(resolve, n % 4))
    abort.abort()
    const value = await receiving.catch(() => other.recv(within))
    assert.equal(text(value), `${n}`)
  }
  await close(nodes)
})

test('what was received already when it is called off goes back', async () => {
  const { nodes, own } = await channels()
  await own.send(Buffer.from('1'))
  const calls = [
    given => own.recv(given),
    given => own.take(given),
    given => select([own.receiving()], given),
  ]
  for (const call of calls) {
    const abort = new AbortController()
    const called = call({ signal: abort.signal })
    // It has it, and nothing can be told of that meanwhile.
    while (own.waiting > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
    abort.abort()
    await assert.rejects(called, { code: 'Cancelled' })
    assert.equal(text(await own.recv(within)), '1')
    await own.send(Buffer.from('1'))
  }
  await close(nodes)
})

test('a job comes back unless it is done', async () => {
  const { nodes, own, other } = await channels()
  await own.send(Buffer.from('1'))
  {
    const job = await other.take(within)
    assert.equal(text(job.data), '1')
    await job[Symbol.asyncDispose]()
    assert.ok(job.lost)
  }
  const job = await own.take(within)
  assert.equal(text(job.data), '1')
  await job.done()
  await assert.rejects(job.done(), { code: 'Closed' })
  assert.equal(own.waiting, 0)
  await close(nodes)
})

test('leaving a block in which a job cannot be given back is no error', async () => {
  const { nodes, own, other } = await channels()
  await own.send(Buffer.from('1'))
  const job = await other.take(within)
  await nodes[1].close()
  await job[Symbol.asyncDispose]()
  await assert.rejects(job.giveBack())
  await close(nodes)
})

test('select takes the first of several', async () => {
  const nodes = await cluster(2)
  const [here, there] = nodes
  const elsewhere = there.channel('elsewhere', { capacity: 1 })
  const remote = await here.openChannel('elsewhere', there.id, patience())
  const hand = here.channel('hand')
  await assert.rejects(select([hand.receiving(), remote.receiving()], { timeout: 50 }), { code: 'Timeout' })
  await elsewhere.send(Buffer.from('x'))
  const { index, value } = await select([hand.receiving(), remote.receiving()], within)
  assert.deepEqual([index, text(value)], [1, 'x'])
  const receiving = hand.recv(within)
  assert.deepEqual(await select([remote.receiving(), hand.sending(Buffer.from('y'))], within), { index: 1 })
  assert.equal(text(await receiving), 'y')
  await assert.rejects(select([remote.sending(Buffer.from('y'))]), { code: 'Invalid' })
  await assert.rejects(select([]), { code: 'Invalid' })
  await assert.rejects(select([hand]), TypeError)
  await close(nodes)
})

test('a semaphore is held by as many as may', async () => {
  const nodes = await cluster(2)
  const [here, there] = nodes
  const own = await here.semaphore('leader', 1)
  const other = await there.openSemaphore('leader', here.id, patience())
  const first = await other.acquire(within)
  assert.ok(!first.lost && first.token > 0n)
  await assert.rejects(own.acquire({ timeout: 50 }), { code: 'Timeout' })
  first.release()
  assert.ok(first.lost)
  await first.waitLost(patience())
  const second = await own.acquire(within)
  assert.ok(second.token > first.token)
  own.close()
  assert.ok(second.lost)
  await assert.rejects(other.acquire(), { code: 'Closed' })
  await close(nodes)
})

test('a wait ends with the node, and does not outlive the program', async () => {
  const { nodes, own, other } = await channels()
  const waits = [assert.rejects(own.recv(), { code: 'Closed' }), assert.rejects(other.take(), { code: 'Closed' })]
  await close(nodes)
  await Promise.all(waits)
  const { code, err } = await run(`
    const [node] = await cluster(1)
    node.unref()
    node.channel('c').recv().catch(() => {})
    await node.semaphore('s', 1).then(s => s.acquire())
  `)
  assert.equal(code, 0, err)
})
