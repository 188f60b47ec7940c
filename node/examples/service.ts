// A minimal service. It greets whoever asks, and asks every greeter that it
// finds, in whatever language that is written.
//
//     node service.js [NAME]
//
// The protocol is a line each way; where a service listens is in its meta.

import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { Node, type Record } from 'casm-p2p'

const name = process.argv[2] ?? 'somebody'

const server = createServer(socket => {
  createInterface(socket).once('line', asker => socket.end(`hello ${asker}, this is Node.js\n`))
})
await once(server.listen(), 'listening')
const { port } = server.address() as AddressInfo

async function ask(record: Record): Promise<string> {
  const [host, port] = record.meta['addr']!.split(':')
  const socket = connect(Number(port), host)
  socket.write(`${name}\n`)
  const [answer] = await once(createInterface(socket), 'line')
  return answer
}

const node = await Node.start({ namespace: 'services' })
const ip = node.info().addrs.find(addr => addr.startsWith('/ip4/'))!.split('/')[2]
await node.setMeta({ service: 'greeter', addr: `${ip}:${port}` })
console.log(`${name} is ${node.id}`)
process.once('SIGINT', async () => {
  await node.close()
  process.exit()
})
for await (const { kind, record } of node.subscribe('meta:service=greeter')) {
  if ((kind === 'current' || kind === 'joined') && record.peer !== node.id) {
    console.log(await ask(record))
  }
}
