// Exit, signals and workers while services, topics, streams and channels are in
// use: each in a Node.js of its own.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { ends, patience, TESTS } from './helpers.mjs'

/** How often the exits are tried. */
const EXITS = 50

// Two nodes that use all there is, and wait in every way.
const IN_USE = `
  const a = await Node.start(options())
  const b = await Node.start(options({ namespace: a.namespace }))
  await b.connect(a.info())
  await Promise.all([a.waitFor(2), b.waitFor(2)])
  a.serve('stuck', () => new Promise(() => {}))
  a.serveStream('endless', function* () { for (;;) yield new Uint8Array(1000) })
  a.onStream('/silent/1', stream => new Promise(() => stream.on('close', () => {})))
  const topic = b.topic('news')
  topic.on('message', () => {}, { echo: true })
  const stream = await b.openStream(a.info(), '/silent/1')
  const own = a.channel('own', { capacity: 10 })
  await own.send(Buffer.from('1'))
  const other = await b.openChannel('own', a.id)
  const job = await other.take()
  const turns = await a.semaphore('turns', 1)
  const lease = await turns.acquire()
  const theirs = await b.openSemaphore('turns', a.id)
`
const WAITS = `
  const waits = [
    b.call('stuck', undefined, { peer: a.id, timeout: Infinity }),
    a.call('stuck', undefined, { timeout: Infinity }),
    b.callAll('stuck', undefined, { timeout: Infinity }).next(),
    b.callStream('endless', undefined, { peer: a.id }).next(),
    topic.subscribe().next(),
    topic.waitForPeers(9),
    other.recv(),
    a.channel('none').recv(),
    a.channel('nobody').send(Buffer.from('x')),
    theirs.acquire(),
    turns.acquire(),
    topic.publish(new Uint8Array(100)),
  ]
  for (const wait of waits) wait.catch(() => {})
  stream.on('data', () => {})
  stream.write(new Uint8Array(4_000_000))
  while (a.serviceStats('stuck').inFlight < 2) await new Promise(resolve => setTimeout(resolve, 1))
`

test('exit without close never hangs or aborts: at the end of the program', async () => {
  for (let attempt = 0; attempt < EXITS; attempt++) await ends(IN_USE)
})

test('exit without close never hangs or aborts: process.exit while calls wait', async () => {
  for (let attempt = 0; attempt < EXITS; attempt++) await ends(`${IN_USE}${WAITS}process.exit()`)
})

test('exit after close', async () => {
  await ends(`${IN_USE}${WAITS}
    await b.close()
    await a.close({ grace: 0 })
    await Promise.allSettled(waits)`)
})

for (const [what, wait] of Object.entries({
  'a call': `b.call('stuck', undefined, { peer: a.id, timeout: Infinity })`,
  'the parts of an answer': `(async () => { for await (const _ of b.callStream('endless', undefined, { peer: a.id })); })()`,
  messages: `topic.subscribe().next()`,
  'a stream': `(async () => { for await (const _ of stream); })()`,
  'a channel': `a.channel('none').recv()`,
  'a semaphore': `theirs.acquire()`,
})) {
  test(`Ctrl-C ends a program that waits for ${what}`, async () => {
    const program = `
      const { Node } = require('casm-p2p'), { options } = require('casm-p2p/testing')
      ;(async () => {
        ${IN_USE}
        console.log('waiting')
        await ${wait}
      })()`
    const child = spawn(process.execPath, ['-e', program], { cwd: TESTS })
    await once(child.stdout, 'data', patience())
    child.kill('SIGINT')
    const [code, signal] = await once(child, 'close', patience())
    assert.deepEqual([code, signal], [null, 'SIGINT'])
  })
}

const WORKER = `
  const { Worker } = require('node:worker_threads')
  const path = require.resolve('casm-p2p')
  const body = \`
    const { parentPort } = require('node:worker_threads')
    const { Node } = require(\${JSON.stringify(path)})
    const { options } = require(\${JSON.stringify(path.replace('index.js', 'testing.js'))})
    const main = async () => {
      ${IN_USE}${WAITS}
      const more = async () => {
        for await (const _ of b.callStream('endless', undefined, { peer: a.id }));
      }
      more().catch(() => {})
      parentPort.postMessage('ready')
      setInterval(() => topic.publish(new Uint8Array(100)).catch(() => {}), 1)
    }
    main()\`
  const start = async () => {
    const worker = new Worker(body, { eval: true })
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
    return worker
  }
`

test('a worker thread is terminated while handlers run, streams and channels wait, and the program goes on', async () => {
  const out = await ends(`${WORKER}
    const own = await Node.start(options())
    own.serve('echo', request => request.data)
    for (let n = 0; n < 10; n++) {
      const worker = await start()
      await worker.terminate()
    }
    console.log(Buffer.from(await own.call("echo", Buffer.from("goes on"))).toString())
    await own.close()`)
  assert.equal(out, 'goes on\n')
})

test('a program exits while workers use all there is', async () => {
  await ends(`${WORKER}
    await Promise.all([start(), start()])
    process.exit()`)
})
