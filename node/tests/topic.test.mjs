// Topics: to iterate over, and with listeners.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CasmError, Message } from 'casm-p2p'
import { cluster } from 'casm-p2p/testing'
import { patience as wait, until } from './helpers.mjs'

async function joined(nodes, name = 'news', options = {}) {
  const topics = nodes.map(node => node.topic(name, options))
  for (const topic of topics) await topic.waitForPeers(nodes.length - 1, wait())
  return topics
}

const text = message => Buffer.from(message.data).toString()
const code = code => error => error instanceof CasmError && error.code === code

test('what is published is iterated over', async () => {
  const nodes = await cluster(2)
  const [one, other] = await joined(nodes)
  assert.equal(one.name, 'news')
  assert.equal(one.fullName, `/casm/1.0.0/${nodes[0].namespace}/topic/news`)
  assert.deepEqual(one.peers(), [nodes[1].id])
  const messages = other.subscribe()
  const own = one.subscribe({ echo: true })
  const said = ['a', Buffer.from('b'), new Uint8Array([0, 99, 0]).subarray(1, 2), '']
  for (const data of said) assert.equal(await one.publish(data), 1)
  for (const data of ['a', 'b', 'c', '']) {
    for (const stream of [messages, own]) {
      const { value } = await stream.next(wait())
      assert.ok(value instanceof Message && value.seq > 0n)
      assert.deepEqual([value.source, text(value)], [nodes[0].id, data])
    }
  }
  assert.equal(messages.dropped, 0)
  // Some of which all is larger than what messages share.
  const large = Buffer.alloc(50_000, 7)
  for (let n = 0; n < 4; n++) await one.publish(large)
  for (let n = 0; n < 4; n++) {
    const { value } = await messages.next(wait())
    assert.ok(large.equals(value.data))
  }
  messages.cancel()
  assert.ok((await messages.next()).done)
  for (const node of nodes) await node.close()
})

test('listeners are called until they are taken off', async () => {
  const nodes = await cluster(2)
  const [one, other] = await joined(nodes)
  const got = []
  const told = message => {
    got.push(text(message))
    if (got.length === 1) throw new Error('it is to be counted')
  }
  const report = console.error
  console.error = () => {}
  try {
    const subscription = other.on('message', told)
    other.close()
    for (const data of ['bad', 'good', 'better']) await one.publish(data)
    await until(() => got.length === 3)
    assert.deepEqual(got, ['bad', 'good', 'better'])
    assert.equal(subscription.failed, 1)
    other.off('message', told)
    assert.ok(subscription.cancelled)
  } finally {
    console.error = report
  }
  await until(() => one.peers().length === 0)
  assert.equal(await one.publish('nobody'), 0)
  for (const node of nodes) await node.close()
})

test('a slow subscriber loses what it chose', async () => {
  const nodes = await cluster(2)
  const [one, other] = await joined(nodes)
  const slow = ['drop_oldest', 'drop_newest'].map(full => other.subscribe({ queue: 2, full }))
  // The last one to be handed a message.
  const quick = other.subscribe()
  for (let n = 0; n < 5; n++) {
    await one.publish(new Uint8Array([n]))
    await quick.next(wait())
  }
  for (const [stream, kept] of [[slow[0], [3, 4]], [slow[1], [0, 1]]]) {
    assert.equal(stream.dropped, 3)
    for (const n of kept) assert.equal((await stream.next(wait())).value.data[0], n)
  }
  for (const node of nodes) await node.close()
})

test('what is wrong is named', async () => {
  const [node] = await cluster(1)
  const config = (call, said) =>
    assert.throws(call, error => code('Config')(error) && error.message.includes(said))
  config(() => node.topic('a/b'), 'another character')
  config(() => node.topic('/casm/x', { exact: true }), "CASM's own")
  config(() => node.topic('a', { maxData: 0 }), 'max_data')
  const topic = node.topic('a', { maxData: 3 })
  config(() => topic.subscribe({ queue: 0 }), 'queue')
  config(() => topic.subscribe({ full: 'block' }), 'block')
  config(() => node.topic('a', { maxData: 4 }), 'max_data')
  await assert.rejects(topic.publish('four'), code('TooLarge'))
  await assert.rejects(topic.publish(3), TypeError)
  assert.throws(() => topic.on('news', () => {}), TypeError)
  assert.throws(() => topic.on('message', 3), TypeError)
  topic.close()
  await assert.rejects(topic.publish(''), code('Closed'))
  const open = node.topic('a')
  const messages = open.subscribe()
  const next = messages.next()
  await node.close()
  assert.ok((await next).done)
  await assert.rejects(open.publish(''), code('Closed'))
  await assert.rejects(open.waitForPeers(1), code('Closed'))
  assert.throws(() => open.subscribe(), code('Closed'))
  assert.throws(() => node.topic('b'), code('Closed'))
})
