// A chat: all who are in it read what each says.
//
//     node chat.js NAME [TOPIC]
//
// The topic's name is taken as it is, so that other libp2p programs can join in: a line
// is a message of plain text.

import { createInterface } from 'node:readline'
import { Node } from 'casm-p2p'

const [name, topic = 'casm-chat'] = process.argv.slice(2)
if (!name) {
  console.error('usage: node chat.js NAME [TOPIC]')
  process.exit(2)
}
const node = await Node.start({ namespace: 'chat', meta: { name } })
process.once('SIGINT', async () => {
  await node.close()
  process.exit()
})
const chat = node.topic(topic, { exact: true })
chat.on('message', message => console.log(new TextDecoder().decode(message.data)))
await chat.waitForPeers(1)
console.log(`${chat.peers().length} more are here: type`)
for await (const line of createInterface(process.stdin)) {
  await chat.publish(`${name}: ${line.trim()}`)
}
await node.close()
