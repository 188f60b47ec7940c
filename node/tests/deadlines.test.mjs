// What is opened at another node has a time limit.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { Key } from 'casm-p2p'
import { cluster } from 'casm-p2p/testing'

test('a peer that never answers is given up', async () => {
  const held = []
  const server = createServer(socket => held.push(socket.on('error', () => {}))).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const nodes = await cluster(1)
  try {
    const [node] = nodes
    const peer = [`/ip4/127.0.0.1/tcp/${server.address().port}/p2p/${Key.generate().peer}`]
    for (const open of [
      options => node.openStream(peer, '/x/1', options),
      options => node.openChannel('jobs', peer, options),
      options => node.openSemaphore('leader', peer, options),
    ]) {
      await assert.rejects(open({ timeout: 50 }), { code: 'Timeout', message: /within 50ms/ })
      await assert.rejects(open({ timeout: -1 }), { code: 'Config' })
      await assert.rejects(open({ timeout: '50' }), { code: 'ERR_INVALID_ARG_TYPE' })
      await assert.rejects(open({ limit: 50 }), TypeError)
      // Without a limit it is for who asks to call it off.
      const abort = new AbortController()
      const waiting = open({ timeout: Infinity, signal: abort.signal })
      const first = await Promise.race([waiting.catch(() => 'failed'), new Promise(done => setTimeout(done, 200, 'waits'))])
      assert.equal(first, 'waits')
      abort.abort()
      await assert.rejects(waiting, { code: 'Cancelled' })
      await assert.rejects(open({ signal: AbortSignal.timeout(1) }), { code: 'Timeout' })
    }
  } finally {
    await nodes[Symbol.asyncDispose]()
    for (const socket of held) socket.destroy()
    server.close()
  }
})
