// A member that does what others ask of it, for the tests across languages. Its
// likes are bindings/examples/across.rs and python/tests/across.py; what they do is
// said in languages.test.mjs.
//
// `across.mjs NAMESPACE ADDR…`: says `here ID ADDR`, and ends with its standard input.
// With `ACROSS_BOOT` it looks for others there, and they reach it at every address.

import { text } from 'node:stream/consumers'
import { Answer, Node } from 'casm-p2p'
import { options } from 'casm-p2p/testing'

const LANGUAGE = 'node'
const PROTOCOL = '/across/1'
const PATIENCE = 60_000
const patience = () => ({ signal: AbortSignal.timeout(PATIENCE) })
const string = bytes => Buffer.from(bytes).toString()

const [namespace, ...addrs] = process.argv.slice(2)
const boot = process.env.ACROSS_BOOT
const found = boot ? { boot, listen: '/ip4/0.0.0.0/tcp/0' } : {}
const node = await Node.start(options({ namespace, meta: { language: LANGUAGE }, ...found }))

const heard = new Map()
const waiting = new Set()
const topic = node.topic('across')
topic.on('message', message => {
  heard.set(string(message.data), message.source)
  for (const look of waiting) look()
})

/** Who said this on the topic, once somebody has. */
const hears = said =>
  new Promise(resolve => {
    const look = () => {
      if (!heard.has(said)) return
      waiting.delete(look)
      resolve(heard.get(said))
    }
    waiting.add(look)
    look()
  })

/** What a peer makes of a text that it is sent over a stream. */
async function exchange(peer, said) {
  const stream = await node.openStream(peer, PROTOCOL, patience())
  stream.end(said)
  return text(stream)
}

const orders = {
  call: async (name, said, { headers }) =>
    string(await node.call(name, Buffer.from(said), { headers, wait: true, timeout: PATIENCE })),
  whose: async name => {
    const { headers, peer } = await node.call(name, Buffer.from('header|'), { wait: true, timeout: PATIENCE })
    return `${headers.language} ${peer}`
  },
  fail: () => {
    throw new Error(`no luck in ${LANGUAGE}`)
  },
  header: (name, _, { headers }) => headers[name] ?? '',
  parts: async (name, said) => {
    const parts = []
    for await (const part of node.callStream(name, Buffer.from(said), { wait: true, ...patience() })) {
      parts.push(string(part))
    }
    return parts.join(' ')
  },
  stream: exchange,
  publish: (name, said) => node.topic(name).publish(said),
  peers: async (name, n) => (await node.topic(name).waitForPeers(Number(n), patience())).length,
  see: async (_, n) => {
    const view = await node.waitFor(Number(n), patience())
    return [...view].map(({ meta, peer }) => `${meta.language}=${peer}`).sort().join(' ')
  },
  heard: (_, said) => hears(said),
}

node.serve(`do.${LANGUAGE}`, async request => {
  const [what, name = '', ...rest] = string(request.data).split('|')
  const said = await orders[what](name, rest.join('|'), request)
  return new Answer(Buffer.from(`${LANGUAGE}>${said}`), { language: LANGUAGE })
})
node.serveStream(`count.${LANGUAGE}`, function* (request) {
  for (let n = 0; n < Number(string(request.data)); n++) yield Buffer.from(`${n}`)
})
node.onStream(PROTOCOL, async stream => {
  stream.end(`${LANGUAGE}:${(await text(stream)).toUpperCase()}`)
})
for (const addr of addrs) await node.connect(addr, patience())
console.log(`here ${node.id} ${node.addrs()[0]}`)
await text(process.stdin)
await node.close()
