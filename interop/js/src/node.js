import './polyfill.js'
import { circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { generateKeyPair, privateKeyFromProtobuf } from '@libp2p/crypto/keys'
import { StrictSign, TopicValidatorResult, gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { peerIdFromString } from '@libp2p/peer-id'
import { ping } from '@libp2p/ping'
import { preSharedKey } from '@libp2p/pnet'
import { tcp } from '@libp2p/tcp'
import { tls } from '@libp2p/tls'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { decodeHeartbeat, encodeHeartbeat } from './heartbeat.js'
import { Table, recordFields } from './table.js'

const MAX_MESSAGE = 1 << 20
const LEAVE_TTL_MS = 1
const RECONNECT_MS = 3000
/** A plain stream: what comes goes back when it has ended. */
const ECHO = '/interop/echo/1'
/** In nobody's mesh: what is relayed goes by IHAVE and IWANT alone. */
const NO_MESH = { D: 0, Dlo: 0, Dhi: 0, Dout: 0, Dscore: 0 }

/** The bytes of the source's id, then the eight of the sequence number. */
export function messageId ({ from, sequenceNumber }) {
  const source = from.toMultihash().bytes
  const id = new Uint8Array(source.length + 8)
  id.set(source)
  new DataView(id.buffer).setBigUint64(source.length, sequenceNumber)
  return id
}

async function receive (stream) {
  const pieces = []
  for await (const piece of stream) pieces.push(piece.subarray())
  return Buffer.concat(pieces)
}

/** Sends all of it, and ends it. */
async function send (stream, data) {
  for (let at = 0; at < data.length; at += 65536) {
    if (!stream.send(data.subarray(at, at + 65536))) await stream.onDrain()
  }
  await stream.close()
}

/** A CASM node that joins the topic of its namespace and keeps a table. */
export class Node {
  #table = new Table()
  #emit
  #timers = []
  #anchors = new Set()
  #next

  constructor (libp2p, options, emit) {
    this.libp2p = libp2p
    this.options = options
    this.#emit = emit
    this.heartbeat = {
      ttlMs: options.ttlMs, server: options.server, host: options.host, meta: options.meta
    }
  }

  /**
   * Starts a node. `emit(event, fields)` is called for everything that happens.
   */
  static async start (options, emit) {
    const privateKey = options.key === undefined
      ? await generateKeyPair('Ed25519')
      : privateKeyFromProtobuf(await readFile(options.key))
    const encrypters = { noise: [noise()], tls: [tls()] }[options.security] ?? [noise(), tls()]
    const nat = options.nat || options.via.length > 0
    const libp2p = await createLibp2p({
      privateKey,
      addresses: { listen: [...options.listen, ...options.via.map((relay) => `${relay}/p2p-circuit`)] },
      transports: nat ? [tcp(), circuitRelayTransport()] : [tcp()],
      connectionEncrypters: encrypters,
      streamMuxers: [yamux()],
      ...(options.secret === undefined
        ? {}
        : { connectionProtector: preSharedKey({ psk: await readFile(options.secret) }) }),
      connectionGater: { denyDialMultiaddr: () => false },
      services: {
        identify: identify({ agentVersion: 'casm-interop-js' }),
        ping: ping(),
        pubsub: gossipsub({
          globalSignaturePolicy: StrictSign,
          msgIdFn: messageId,
          allowPublishToZeroTopicPeers: true,
          floodPublish: true,
          // Brings the sequence number that the library gave the message.
          emitSelf: true,
          maxInboundDataLength: MAX_MESSAGE,
          // Else it would say nothing over a relay.
          runOnLimitedConnection: nat,
          ...(options.lazy ? NO_MESH : {})
        })
      }
    })
    const node = new Node(libp2p, options, emit)
    node.#run()
    return node
  }

  get id () { return this.libp2p.peerId.toString() }
  get addrs () { return this.libp2p.getMultiaddrs().map(String) }
  get records () { return this.#table.records() }

  #run () {
    const { pubsub } = this.libp2p.services
    this.libp2p.handle(ECHO, async (stream) => {
      try {
        await send(stream, await receive(stream))
      } catch (error) {
        stream.abort(error)
      }
    })
    pubsub.topicValidators.set(this.options.ns, (_, message) => this.#validate(message))
    pubsub.subscribe(this.options.ns)
    for (const event of ['connect', 'disconnect']) {
      this.libp2p.addEventListener(`peer:${event}`, ({ detail }) => this.#emit(`${event}ed`, { peer: detail.toString() }))
    }
    this.libp2p.addEventListener('peer:identify', ({ detail }) => {
      const { peerId, agentVersion, protocols, signedPeerRecord } = detail
      this.#emit('identified', {
        peer: peerId.toString(),
        agent: agentVersion,
        protocols,
        signed_record: signedPeerRecord && {
          seq: signedPeerRecord.seq.toString(), addrs: signedPeerRecord.addresses.map(String)
        }
      })
    })
    pubsub.addEventListener('message', ({ detail }) => {
      const own = detail.from.equals(this.libp2p.peerId)
      if (detail.topic === this.options.ns) {
        if (own) this.#validate(detail)
      } else if (!own) {
        const text = new TextDecoder().decode(detail.data)
        this.#emit('message', { topic: detail.topic, source: detail.from.toString(), text })
      }
    })
    // A peer may subscribe before there is a stream to it: both are occasions.
    for (const event of ['subscription-change', 'gossipsub:graft']) {
      pubsub.addEventListener(event, () => this.#beat())
    }
    this.#timers.push(setInterval(() => this.#expire(), 50), setInterval(() => this.#reconnect(), RECONNECT_MS))
    this.#emit('listening', { peer: this.id, addrs: this.addrs })
    this.#beat()
  }

  #validate (message) {
    let heartbeat
    try {
      heartbeat = decodeHeartbeat(message.data)
    } catch (error) {
      this.#emit('error', { kind: 'Invalid', message: `heartbeat of ${message.from}: ${error.message}` })
      return TopicValidatorResult.Reject
    }
    return this.#upsert({ peer: message.from.toString(), seq: message.sequenceNumber, ...heartbeat })
      ? TopicValidatorResult.Accept
      : TopicValidatorResult.Ignore
  }

  #upsert (record) {
    const change = this.#table.upsert(record, Date.now())
    if (change === 'joined' || (change === 'updated' && record.ttlMs > LEAVE_TTL_MS)) {
      this.#emit(`peer-${change}`, { record: recordFields(record) })
    }
    return change !== 'stale'
  }

  #expire () {
    for (const { peer, ttlMs } of this.#table.expire(Date.now())) {
      this.#emit('peer-left', { peer, reason: ttlMs <= LEAVE_TTL_MS ? 'left' : 'expired' })
    }
  }

  /** Publishes the heartbeat now, and the next in between half a TTL and a TTL. */
  #beat () {
    clearTimeout(this.#next)
    if (this.options.observer) return
    this.publish(this.heartbeat).catch((error) => this.#emit('error', { kind: 'Protocol', message: error.message }))
    this.#next = setTimeout(() => this.#beat(), this.heartbeat.ttlMs * (1 + Math.random()) / 2)
  }

  publish (heartbeat) {
    return this.libp2p.services.pubsub.publish(this.options.ns, encodeHeartbeat(heartbeat))
  }

  update (change) {
    Object.assign(this.heartbeat, change)
    this.#beat()
  }

  /** Dials, and dials again whenever the connection is lost: there is no discovery here. */
  async connect (addr) {
    this.#anchors.add(addr)
    const connection = await this.libp2p.dial(multiaddr(addr))
    return connection.remotePeer.toString()
  }

  #reconnect () {
    const connected = new Set(this.libp2p.getPeers().map(String))
    for (const addr of this.#anchors) {
      if (connected.has(addr.split('/p2p/').at(-1))) continue
      // It fails for as long as the other is away.
      this.libp2p.dial(multiaddr(addr), { signal: AbortSignal.timeout(3000) }).catch(() => {})
    }
  }

  ping (peer) { return this.libp2p.services.ping.ping(peerIdFromString(peer)) }

  /** Sends so many bytes, ends them, and reads what comes back. */
  async openStream (addr, protocol, bytes) {
    const stream = await this.libp2p.dialProtocol(multiaddr(addr), protocol)
    const [got] = await Promise.all([receive(stream), send(stream, Buffer.alloc(bytes, 's'))])
    return { bytes: got.length, sha256: createHash('sha256').update(got).digest('hex') }
  }

  /** Tells of each connection what the handshake brought. */
  connections () {
    return this.libp2p.getConnections().map((c) => ({
      peer: c.remotePeer.toString(),
      direction: c.direction === 'inbound' ? 'in' : 'out',
      addr: c.remoteAddr.toString(),
      limited: c.limits !== undefined,
      security: c.encryption,
      muxer: c.multiplexer
    }))
  }

  /** Joins a topic by its exact name. */
  join (topic) { this.libp2p.services.pubsub.subscribe(topic) }

  async say (topic, text) { await this.libp2p.services.pubsub.publish(topic, new TextEncoder().encode(text)) }

  mesh () {
    const { pubsub } = this.libp2p.services
    return { mesh: pubsub.getMeshPeers(this.options.ns), subscribers: pubsub.getSubscribers(this.options.ns).map(String) }
  }

  /** Says goodbye and ends. */
  async leave () {
    clearTimeout(this.#next)
    this.#timers.forEach(clearInterval)
    if (!this.options.observer) {
      await this.publish({ ...this.heartbeat, ttlMs: LEAVE_TTL_MS }).catch(() => {})
      // Stopping throws away what is queued: a round trip behind it shows that
      // it has gone out.
      const signal = AbortSignal.timeout(1000)
      await Promise.allSettled(this.libp2p.getPeers().map((peer) => this.libp2p.services.ping.ping(peer, { signal })))
    }
    await this.libp2p.stop()
  }
}
