// A service: it greets whoever asks. And it asks each member that serves one, in
// whatever language that is written.
//
//     node service.js [NAME]

import { Node } from 'casm-p2p'

const name = process.argv[2] ?? 'somebody'

const node = await Node.start({ namespace: 'services' })
node.serve('greet', async request => Buffer.from(`hello ${Buffer.from(request.data)}, this is Node.js`))
console.log(`${name} is ${node.id}`)
process.once('SIGINT', async () => {
  await node.close()
  process.exit()
})
for await (const { kind, record } of node.subscribe('service:greet')) {
  if ((kind === 'current' || kind === 'joined') && record.peer !== node.id) {
    try {
      console.log(`${Buffer.from(await node.call('greet', Buffer.from(name), { peer: record }))}`)
    } catch (error) {
      // It may have gone already.
      console.log(`no answer: ${error}`)
    }
  }
}
