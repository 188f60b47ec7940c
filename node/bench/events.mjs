// Events delivered to a listener per second, and records read from a view.

import { createRequire } from 'node:module'
import { parseArgs } from 'node:util'
import { cluster } from 'casm-p2p/testing'

const { values } = parseArgs({ options: { count: { type: 'string' }, records: { type: 'string' } } })
const count = Number(values.count ?? 4_000_000)
const records = Number(values.records ?? 10_000)

const require = createRequire(import.meta.url)
const { benchEvents, benchView } = require(require.resolve('casm-p2p').replace('index.js', 'node.js'))

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
const figures = { events_per_s: Math.round(events), records_per_s: Math.round(median) }
console.log(JSON.stringify({ bench: 'events', language: 'node', name: 'casm', ...figures }))
