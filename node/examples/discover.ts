// Discover who is on the local network: run it on several machines.
//
//     node discover.js [NAMESPACE]

import { Node } from 'casm-p2p'

const stop = new AbortController()
process.once('SIGINT', () => stop.abort())

await using node = await Node.start({ namespace: process.argv[2] ?? 'discover' })
console.log(`I am ${node.id}`)
try {
  for await (const event of node.events(stop)) {
    if (event.type === 'peer:joined' && event.record.peer !== node.id) {
      console.log(`+ ${event.record.peer} on ${event.record.host}`)
    } else if (event.type === 'peer:left') {
      console.log(`- ${event.peer} (${event.reason})`)
    }
  }
} catch (error) {
  if (!stop.signal.aborted) throw error
}
