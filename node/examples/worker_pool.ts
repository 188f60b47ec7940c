// A pool of workers that come and go, and a boss who always knows them.
//
//     node worker_pool.js worker
//     node worker_pool.js boss
//
// A worker says of itself where it takes jobs. The boss follows a live query,
// and gives each new worker a job.

import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { Node } from 'casm-p2p'

/** An IP address of this machine that others can reach. */
function ownIp(node: Node): string {
  const addr = node.info().addrs.find(addr => addr.startsWith('/ip4/'))
  return addr!.split('/')[2]!
}

/** One job: a line with a number comes, its square goes back. */
async function worker(): Promise<void> {
  const server = createServer(socket => {
    createInterface(socket).once('line', line => socket.end(`${Number(line) ** 2}\n`))
  })
  await once(server.listen(), 'listening')
  const { port } = server.address() as AddressInfo
  const node = await Node.start({ namespace: 'pool' })
  await node.setMeta({ role: 'worker', addr: `${ownIp(node)}:${port}` })
  console.log(`worker ${node.id} at port ${port}`)
  process.once('SIGINT', async () => {
    await node.close()
    process.exit()
  })
}

async function boss(): Promise<void> {
  await using node = await Node.start({ namespace: 'pool', meta: { role: 'boss' } })
  let number = 2
  for await (const change of node.subscribe({ match: { meta: ['role', 'worker'] } })) {
    if (change.kind !== 'current' && change.kind !== 'joined') {
      console.log(change.kind)
      continue
    }
    const [host, port] = change.record.meta['addr']!.split(':')
    const socket = connect(Number(port), host)
    socket.write(`${number}\n`)
    const [answer] = await once(createInterface(socket), 'line')
    console.log(`${change.record.peer} says ${number}² = ${answer}`)
    number++
  }
}

const role = { worker, boss }[process.argv[2] ?? '']
if (!role) {
  console.error('usage: node worker_pool.js worker|boss')
  process.exit(2)
}
await role()
