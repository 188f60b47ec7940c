// How long a call of another process's service takes, 64 bytes there and 64 back,
// over TCP on the loopback interface; and how many calls a second many callers make
// at once.
//
// `--peer zeromq` asks a replier, over TCP without encryption; of many callers each
// has a socket of its own.

import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '2000' },
    callers: { type: 'string', default: '64' },
    seconds: { type: 'string', default: '5' },
    peer: { type: 'string' },
    answer: { type: 'string' },
  },
})
const NAME = 'bench'
const data = new Uint8Array(64)
const callers = Number(values.callers)

if (values.answer !== undefined) {
  await (values.peer ? answerZeromq() : answer())
} else {
  const figures = await (values.peer ? zeromq() : casm())
  console.log(JSON.stringify({ bench: 'call', language: 'node', name: values.peer ?? 'casm', callers, ...figures }))
}
process.exit()

/** One by one by the first, then all at once. */
async function measure(asks) {
  return { ...(await oneByOne(asks[0], Number(values.count))), ...(await atOnce(asks)) }
}

async function oneByOne(ask, count) {
  for (let n = 0; n < count / 10; n++) await ask()
  const took = []
  for (let n = 0; n < count; n++) {
    const before = performance.now()
    await ask()
    took.push(performance.now() - before)
  }
  took.sort((a, b) => a - b)
  const us = part => Math.round(took[Math.floor(count * part)] * 1000)
  return { p50_us: us(0.5), p99_us: us(0.99) }
}

async function atOnce(asks) {
  const milliseconds = Number(values.seconds) * 1000
  const pause = ms => new Promise(resolve => setTimeout(resolve, ms))
  let calls = 0
  let over = false
  const all = asks.map(async ask => {
    while (!over) {
      await ask()
      calls++
    }
  })
  await pause(milliseconds / 5)
  const before = calls
  const start = performance.now()
  await pause(milliseconds)
  const rate = ((calls - before) / (performance.now() - start)) * 1000
  over = true
  await Promise.all(all)
  return { calls_per_s: Math.round(rate) }
}

/** Starts the other process, which says where it is, and ends when its stdin does. */
async function answerer(given) {
  const peer = values.peer ? ['--peer', values.peer] : []
  const command = [fileURLToPath(import.meta.url), '--answer', given, ...peer]
  const child = spawn(process.execPath, command, { stdio: ['pipe', 'pipe', 'inherit'] })
  const [where] = await once(createInterface({ input: child.stdout }), 'line')
  return { where, end: () => child.stdin.end() }
}

async function tell(where) {
  console.log(where)
  process.stdin.resume()
  await once(process.stdin, 'end')
}

async function answer() {
  const [{ Node }, { options }] = await Promise.all([import('casm-p2p'), import('casm-p2p/testing')])
  const node = await Node.start(options({ namespace: values.answer }))
  // Room for more callers than 64 at once.
  node.serve(NAME, request => request.data, { maxInflight: 1024 })
  await tell(`${node.info().addrs[0]}/p2p/${node.id}`)
  await node.close()
}

async function casm() {
  const [{ Node }, { options }] = await Promise.all([import('casm-p2p'), import('casm-p2p/testing')])
  const namespace = `bench-${randomUUID()}`
  const { where, end } = await answerer(namespace)
  const node = await Node.start(options({ namespace }))
  await node.connect(where)
  await node.call(NAME, data, { wait: true, timeout: 30_000 })
  const figures = await measure(Array.from({ length: callers }, () => () => node.call(NAME, data)))
  await node.close()
  end()
  return figures
}

async function answerZeromq() {
  const { Router } = await import('zeromq')
  const router = new Router()
  await router.bind('tcp://127.0.0.1:*')
  const replies = (async () => {
    for await (const frames of router) await router.send(frames)
  })()
  await tell(router.lastEndpoint)
  router.close()
  await replies
}

async function zeromq() {
  const { Request } = await import('zeromq')
  const { where, end } = await answerer('')
  const askers = Array.from({ length: callers }, () => new Request())
  askers.forEach(asker => asker.connect(where))
  const figures = await measure(
    askers.map(asker => async () => {
      await asker.send(data)
      await asker.receive()
    }),
  )
  askers.forEach(asker => asker.close())
  end()
  return figures
}
