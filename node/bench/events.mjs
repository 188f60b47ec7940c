// Events delivered to a listener per second, and records read from a view.
//
// `--peer zeromq`: 64-byte messages from a publisher to a subscriber of the same
// process, over TCP on the loopback interface.

import { createRequire } from 'node:module'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: { count: { type: 'string' }, records: { type: 'string' }, peer: { type: 'string' } },
})
const count = Number(values.count ?? 4_000_000)
const records = Number(values.records ?? 10_000)

const figures = await (values.peer ? zeromq(count / 40) : casm())
console.log(JSON.stringify({ bench: 'events', language: 'node', name: values.peer ?? 'casm', ...figures }))

async function casm() {
  const require = createRequire(import.meta.url)
  const { benchEvents, benchView } = require('casm-p2p').Node[Symbol.for('casm-p2p.internal')]
  const { cluster } = require('casm-p2p/testing')
  const [node] = await cluster(1, { meta: { role: 'worker' } })
  node.ref()
  let left = count
  const start = performance.now()
  const subscription = await new Promise(resolve => {
    const subscription = benchEvents(node, count, event => {
      if (event.type === 'peer:updated' && --left === 0) resolve(subscription)
    })
  })
  const events = (count / (performance.now() - start)) * 1000
  if (subscription.dropped > 0) throw new Error('events were dropped')
  await node.close()

  const view = benchView(records)
  const rates = []
  for (let run = 0; run < 20; run++) {
    const start = performance.now()
    let found = 0
    for (const record of view.iter()) if (record.peer && record.host && record.meta.role === 'worker') found++
    if (found !== records) throw new Error(`${found} records were read`)
    rates.push((records / (performance.now() - start)) * 1000)
  }
  // The median: this is a measure of the code, not of who else runs here.
  const median = rates.sort((a, b) => a - b)[10]
  return { events_per_s: Math.round(events), records_per_s: Math.round(median) }
}

async function zeromq(count) {
  const { Publisher, Subscriber } = await import('zeromq')
  const publisher = new Publisher({ sendHighWaterMark: 0 })
  const subscriber = new Subscriber({ receiveHighWaterMark: 0 })
  await publisher.bind('tcp://127.0.0.1:*')
  subscriber.connect(publisher.lastEndpoint)
  subscriber.subscribe()
  const message = Buffer.alloc(64)
  // Until the subscription has arrived, nothing does.
  let ready = false
  const first = subscriber.receive().then(() => (ready = true))
  while (!ready) {
    await publisher.send(message)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  await first
  const start = performance.now()
  const sent = (async () => {
    for (let n = 0; n < count; n++) await publisher.send(message)
  })()
  let received = 0
  for await (const _ of subscriber) if (++received === count) break
  const took = performance.now() - start
  await sent
  publisher.close()
  subscriber.close()
  return { events_per_s: Math.round((count / took) * 1000) }
}
