// Discover who is on the local network: run it on several machines.
//
//     node discover.js [NAMESPACE]

import { Node } from 'casm-p2p'

const stop = new AbortController()
process.once('SIGINT', () => stop.abort())

await using node = await Node.start({ namespace: process.argv[2] ?? 'discover' })
console.log(`I am ${node.id}`)
try {
  for await (const { kind, record } of node.subscribe(undefined, stop)) {
    // Who was there before the subscription is current.
    if ((kind === 'current' || kind === 'joined') && record.peer !== node.id) {
      console.log(`+ ${record.peer} on ${record.host}`)
    } else if (kind === 'left') {
      console.log(`- ${record.peer}`)
    }
  }
} catch (error) {
  if (!stop.signal.aborted) throw error
}
