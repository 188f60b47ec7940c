// Nodes that are opened and closed, in a Node.js of its own: nothing grows.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { TESTS } from './helpers.mjs'

const PROGRAM = `
const { readdirSync, readFileSync } = require('node:fs')
const { Node } = require('casm-p2p')
const { options } = require('casm-p2p/testing')
const pause = ms => new Promise(done => setTimeout(done, ms))
const same = (bytes, text) => { if (Buffer.from(bytes).toString() !== text) throw new Error(text) }

async function one() {
  const node = await Node.start(options())
  node.on('event', () => {})
  node.serve('s', request => request.data)
  same(await node.call('s', Buffer.from('a')), 'a')
  const channel = node.channel('c', { capacity: 1 })
  await channel.send(Buffer.from('b'))
  same(await channel.recv(), 'b')
  const topic = node.topic('t')
  const messages = topic.subscribe({ echo: true })
  await topic.publish('c')
  same((await messages.next()).value.data, 'c')
  await node.subscribe().next()
  await node.close()
}

async function rounds(many) {
  for (let n = 0; n < many; n++) await Promise.all(Array.from({ length: 10 }, one))
}

async function used() {
  // What only waits to be collected is no leak.
  for (let n = 0; n < 4; n++) {
    gc()
    await pause(20)
  }
  const resident = Number(readFileSync('/proc/self/statm', 'utf8').split(' ')[1]) * 4096
  const count = what => readdirSync('/proc/self/' + what).length
  return { threads: count('task'), descriptors: count('fd'), memory: resident - process.memoryUsage().heapTotal }
}

async function main() {
  // What is made once, and what the allocator keeps.
  await rounds(10)
  const before = await used()
  await rounds(20)
  let after
  for (let n = 0; n < 300; n++) {
    after = await used()
    if (after.threads <= before.threads && after.descriptors <= before.descriptors) break
    // Threads end in their own time.
    await pause(100)
  }
  console.log(JSON.stringify({ before, after }))
}
main()`

test('200 nodes leave no thread, descriptor or memory behind', {
  skip: process.platform !== 'linux' && 'counts in /proc',
}, () => {
  const done = spawnSync(process.execPath, ['--expose-gc', '-e', PROGRAM], { cwd: TESTS, encoding: 'utf8', timeout: 300_000 })
  assert.equal(done.status, 0, done.stderr)
  console.log(done.stdout)
  const { before, after } = JSON.parse(done.stdout)
  assert.ok(after.threads <= before.threads && after.descriptors <= before.descriptors, done.stdout)
  // 40 KiB a node: less than anything that a node keeps.
  assert.ok(after.memory - before.memory < 200 * 40 * 1024, done.stdout)
})
