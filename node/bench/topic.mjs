// How many messages of a topic come in a second, from one publisher to each of so
// many subscribers of the same process, over TCP on the loopback interface. Each
// message is signed, and its signature checked.
//
// `--peer @libp2p/gossipsub` is js-libp2p's gossipsub.

import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    bytes: { type: 'string', default: '64' },
    subscribers: { type: 'string', default: '1,8' },
    window: { type: 'string', default: '1000' },
    seconds: { type: 'string', default: '5' },
    peer: { type: 'string' },
  },
})
const TOPIC = 'bench'
/** Until then nothing is counted. */
const WARM = 1000

const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

for (const subscribers of values.subscribers.split(',').map(Number)) {
  const figures = await (values.peer ? libp2p : casm)(subscribers, new Uint8Array(Number(values.bytes)))
  const told = { bench: 'topic', language: 'node', name: values.peer ?? 'casm', subscribers, bytes: Number(values.bytes) }
  console.log(JSON.stringify({ ...told, ...figures }))
}
process.exit()

/** Publishes, at most a window ahead of the slowest, and counts for some seconds. */
async function measure(counts, publish) {
  let over = false
  let sent = 0
  const window = Number(values.window)
  const publishing = (async () => {
    while (!over) {
      const room = Math.min(window - (sent - Math.min(...counts)), 64)
      if (room <= 0) {
        await pause(0)
        continue
      }
      sent += room
      await Promise.all(Array.from({ length: room }, publish))
    }
  })()
  await pause(WARM)
  const before = [...counts]
  const start = performance.now()
  await pause(Number(values.seconds) * 1000)
  const sum = counts.reduce((all, count, n) => all + count - before[n], 0)
  const seconds = (performance.now() - start) / 1000
  over = true
  await publishing
  return {
    messages_per_s: Math.round(sum / counts.length / seconds),
    deliveries_per_s: Math.round(sum / seconds),
  }
}

async function casm(subscribers, data) {
  const { cluster } = await import('casm-p2p/testing')
  const nodes = await cluster(subscribers + 1)
  const [publisher, ...others] = nodes
  // All know all, as in a cluster that runs for long.
  for (const [n, node] of others.entries()) {
    for (const other of others.slice(0, n)) await node.connect(other.info())
  }
  const counts = others.map(() => 0)
  for (const [n, node] of others.entries()) {
    node.topic(TOPIC).on('message', () => counts[n]++, { queue: 65_536 })
  }
  const topic = publisher.topic(TOPIC)
  await topic.waitForPeers(subscribers)
  const figures = await measure(counts, () => topic.publish(data))
  await Promise.all(nodes.map(node => node.close()))
  return figures
}

async function libp2p(subscribers, data) {
  // js-libp2p 3 uses this; Node.js has it from version 22.
  Promise.withResolvers ??= function () {
    let resolve, reject
    const promise = new this((a, b) => ([resolve, reject] = [a, b]))
    return { promise, resolve, reject }
  }
  const [{ createLibp2p }, { gossipsub }, { identify }, { tcp }, { noise }, { yamux }] = await Promise.all([
    import('libp2p'),
    import('@libp2p/gossipsub'),
    import('@libp2p/identify'),
    import('@libp2p/tcp'),
    import('@chainsafe/libp2p-noise'),
    import('@chainsafe/libp2p-yamux'),
  ])
  const peers = []
  for (let n = 0; n <= subscribers; n++) {
    const peer = await createLibp2p({
      addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      connectionGater: { denyDialMultiaddr: () => false },
      // Five a second of one host, else.
      connectionManager: { inboundConnectionThreshold: 1000 },
      services: { identify: identify(), pubsub: gossipsub({ allowPublishToZeroTopicPeers: true }) },
    })
    for (const other of peers) await peer.dial(other.getMultiaddrs())
    peers.push(peer)
  }
  const [publisher, ...others] = peers
  const counts = others.map(() => 0)
  for (const peer of peers) peer.services.pubsub.subscribe(TOPIC)
  for (const [n, peer] of others.entries()) {
    peer.services.pubsub.addEventListener('message', () => counts[n]++)
  }
  while (publisher.services.pubsub.getSubscribers(TOPIC).length < subscribers) await pause(50)
  // Until the mesh is there.
  await pause(2000)
  const figures = await measure(counts, () => publisher.services.pubsub.publish(TOPIC, data))
  await Promise.all(peers.map(peer => peer.stop()))
  return figures
}
