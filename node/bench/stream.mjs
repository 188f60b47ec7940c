// How fast bytes go over one stream from a process to another, on the loopback
// interface.
//
// `--peer libp2p` sends them over a stream of js-libp2p.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    bytes: { type: 'string', default: String(2 ** 30) },
    piece: { type: 'string', default: '65536' },
    transport: { type: 'string', default: 'quic,tcp' },
    peer: { type: 'string' },
    // What this program says to itself.
    'send-to': { type: 'string' },
  },
})
const PROTOCOL = '/bench/1'
const LISTEN = { quic: '/ip4/127.0.0.1/udp/0/quic-v1', tcp: '/ip4/127.0.0.1/tcp/0' }
const bytes = Number(values.bytes)
const all = Buffer.from('all')

for (const transport of values.transport.split(',')) {
  const way = await (values.peer ? libp2p : casm)(transport)
  if (values['send-to']) {
    await way.send(values['send-to'])
  } else {
    const figures = await received(way, transport)
    const told = { bench: 'stream', language: 'node', name: values.peer ?? 'casm', transport }
    console.log(JSON.stringify({ ...told, bytes, piece: Number(values.piece), ...figures }))
  }
  await way.close()
}
process.exit()

/** What comes from another process. */
async function received(way, transport) {
  let count = 0
  let start, cpu
  const done = way.receive(piece => {
    if (count === 0) [start, cpu] = [performance.now(), process.cpuUsage()]
    count += piece
  })
  const said = ['--bytes', values.bytes, '--piece', values.piece, '--transport', transport]
  if (values.peer) said.push('--peer', values.peer)
  const sender = fork(fileURLToPath(import.meta.url), [...said, '--send-to', way.addr])
  const ended = once(sender, 'exit')
  const answer = await Promise.race([done, ended.then(() => { throw new Error('the sender ended') })])
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(cpu)
  if (count !== bytes) throw new Error(`${count} bytes of ${bytes} came`)
  await answer()
  if ((await ended)[0] !== 0) throw new Error('the sender failed')
  const gib = count / 2 ** 30
  const round = figure => Math.round(figure * 1000) / 1000
  return {
    seconds: round(seconds),
    mib_per_s: round((gib * 1024) / seconds),
    receiver_cpu_s_per_gib: round((user + system) / 1e6 / gib),
  }
}

function* pieces() {
  const piece = Buffer.alloc(Number(values.piece))
  for (let left = bytes; left > 0; left -= piece.length) yield left < piece.length ? piece.subarray(0, left) : piece
}

function check(answer) {
  if (!all.equals(answer)) throw new Error('the receiver has not all')
}

async function casm(transport) {
  const { Node } = await import('casm-p2p')
  const { options } = await import('casm-p2p/testing')
  const { buffer } = await import('node:stream/consumers')
  const node = await Node.start(options({ listen: LISTEN[transport] }))
  return {
    addr: `${node.addrs()[0].split('/p2p/')[0]}/p2p/${node.id}`,
    receive: more =>
      new Promise((resolve, reject) => {
        node.onStream(PROTOCOL, stream => {
          stream.on('data', piece => more(piece.length))
          stream.on('end', () => resolve(() => stream.end(all)))
          stream.on('error', reject)
        })
      }),
    async send(to) {
      const stream = await node.openStream(to, PROTOCOL)
      for (const piece of pieces()) if (!stream.write(piece)) await once(stream, 'drain')
      stream.end()
      check(await buffer(stream))
    },
    close: () => node.close(),
  }
}

async function libp2p(transport) {
  // js-libp2p 3 uses this; Node.js has it from version 22.
  Promise.withResolvers ??= function () {
    let resolve, reject
    const promise = new this((a, b) => ([resolve, reject] = [a, b]))
    return { promise, resolve, reject }
  }
  const [{ createLibp2p }, { quic }, { tcp }, { noise }, { yamux }, { multiaddr }] = await Promise.all([
    import('libp2p'),
    import('@chainsafe/libp2p-quic'),
    import('@libp2p/tcp'),
    import('@chainsafe/libp2p-noise'),
    import('@chainsafe/libp2p-yamux'),
    import('@multiformats/multiaddr'),
  ])
  const node = await createLibp2p({
    addresses: { listen: [LISTEN[transport]] },
    transports: [transport === 'quic' ? quic() : tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionGater: { denyDialMultiaddr: () => false },
  })
  return {
    addr: node.getMultiaddrs()[0].toString(),
    receive: more =>
      new Promise((resolve, reject) => {
        const handle = async stream => {
          for await (const piece of stream) more(piece.byteLength)
          resolve(async () => {
            stream.send(all)
            await stream.close()
          })
        }
        node.handle(PROTOCOL, stream => void handle(stream).catch(reject))
      }),
    async send(to) {
      const stream = await node.dialProtocol(multiaddr(to), PROTOCOL)
      for (const piece of pieces()) if (!stream.send(piece)) await stream.onDrain()
      const answer = (async () => {
        const got = []
        for await (const piece of stream) got.push(piece.subarray())
        return Buffer.concat(got)
      })()
      await stream.close()
      check(await answer)
    },
    close: () => node.stop(),
  }
}
