// How long a question takes to a node of the same process, over TCP on the
// loopback interface, and back: the record of a peer from that node's view.
//
// `--peer zeromq` asks a replier for 64 bytes, over TCP without encryption.

import { parseArgs } from 'node:util'

const { values } = parseArgs({ options: { count: { type: 'string' }, peer: { type: 'string' } } })
const count = Number(values.count ?? 2000)
const figures = await (values.peer ? zeromq() : casm())
console.log(JSON.stringify({ bench: 'roundtrip', language: 'node', name: values.peer ?? 'casm', ...figures }))

async function measure(ask) {
  for (let n = 0; n < count / 10; n++) await ask()
  const took = []
  const start = performance.now()
  for (let n = 0; n < count; n++) {
    const before = performance.now()
    await ask()
    took.push(performance.now() - before)
  }
  const rate = (count / (performance.now() - start)) * 1000
  took.sort((a, b) => a - b)
  const us = part => Math.round(took[Math.floor(count * part)] * 1000)
  return { roundtrips_per_s: Math.round(rate), p50_us: us(0.5), p99_us: us(0.99) }
}

async function casm() {
  const { cluster } = await import('casm-p2p/testing')
  const [asker, other] = await cluster(2)
  const view = await asker.viewOf(other.id)
  if (!(await view.get(asker.id))) throw new Error('it does not see who asks')
  const figures = await measure(() => view.get(asker.id))
  await Promise.all([asker.close(), other.close()])
  return figures
}

async function zeromq() {
  const { Reply, Request } = await import('zeromq')
  const replier = new Reply()
  const asker = new Request()
  await replier.bind('tcp://127.0.0.1:*')
  asker.connect(replier.lastEndpoint)
  const answer = Buffer.alloc(64)
  const replies = (async () => {
    for await (const _ of replier) await replier.send(answer)
  })()
  const figures = await measure(async () => {
    await asker.send('')
    await asker.receive()
  })
  asker.close()
  replier.close()
  await replies
  return figures
}
