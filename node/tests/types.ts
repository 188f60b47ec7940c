// What the types promise: this file need only compile, in strict mode.

import {
  Answer,
  CasmError,
  Key,
  Node,
  Secret,
  ServiceRequest,
  type CallOptions,
  type Change,
  type ErrorCode,
  type Event,
  type Found,
  type Handler,
  type Options,
  type PeerInfo,
  type PeerReply,
  type Record,
  type ServiceStats,
  type View,
} from 'casm-p2p'
import { cluster } from 'casm-p2p/testing'

export async function main(): Promise<void> {
  await using node = await Node.start({ namespace: 'demo', meta: { role: 'worker' }, key: Key.generate(), ttl: 5000 })
  const options: Options = { onEvent: event => event.type === 'listening' && log(event.addrs) }
  await (await Node.start(options)).close()
  const view: View = await node.waitFor(3, { signal: AbortSignal.timeout(10_000) })
  for (const record of view.iter({ match: { meta: ['role', 'worker'] }, limit: 10 })) {
    const seq: bigint = record.seq
    const role: string | undefined = record.meta['role']
    console.log(record.peer, record.host, seq, role)
  }
  const found: Record | undefined = view.lookup('host:a')
  const subscription = node.on('peer:joined', record => console.log(record.peer, found))
  node.on('peer:left', ({ peer, reason }) => console.log(peer, reason === 'left'))
  node.on('reachability:changed', ({ reachability: { reach, addrs } }) => log(reach === 'public' ? addrs.map(a => a.addr) : []))
  node.on('event', event => {
    if (event.type === 'dropped') console.log(event.count.toFixed())
    // @ts-expect-error only some events hold a record
    console.log(event.record)
  })
  const topic = node.topic('news', { maxData: 1000, accept: { match: 'meta:role=worker' } })
  const peers: number = await topic.publish('hello', { timeout: 1000 })
  for await (const message of topic.subscribe({ queue: peers, full: 'drop_newest', echo: true })) {
    const data: Uint8Array = message.data
    console.log(message.source, message.seq + 1n, data.length)
  }
  topic.on('message', message => console.log(message.source)).cancel()
  // @ts-expect-error there is nothing else to lose
  topic.subscribe({ full: 'block' })
  const shout: Handler = async (request: ServiceRequest) => {
    log(request.headers['traceparent'] ?? request.peer)
    return request.signal.aborted ? undefined : request.data
  }
  const serving = node.serve('shout', shout, { version: '2', maxInflight: 8, listed: true, allow: ['worker'] })
  node.serveStream('tail', async function* ({ data }) {
    yield data
  })
  const asked: CallOptions = { peer: node.id, where: { match: { service: 'shout' } }, timeout: Infinity, idempotent: true }
  const answer: Answer = await node.call('shout', new Uint8Array(3), asked)
  const bytes: Uint8Array = answer
  log(bytes.length + (answer.headers['k'] ?? answer.peer ?? ''))
  node.serve('along', async ({ data, headers }) => new Answer(data, headers))
  const opened = await node.openChannel('jobs', node.id, { timeout: Infinity })
  await node.openStream(node.id, '/x/1', { timeout: 1000, signal: AbortSignal.timeout(10) })
  log(opened.name)
  for await (const part of node.callStream('tail', answer, { signal: AbortSignal.timeout(1000) })) log(part.length)
  const replies = node.callAll('shout', answer, { limit: 3, headers: { traceparent: '00' } })
  for await (const reply of replies) {
    const given: PeerReply = reply
    log(given.data ?? given.error?.code ?? given.peer)
  }
  const stats: ServiceStats = node.serviceStats('shout')
  log(stats.calls + stats.inFlight + (stats.failures['deadline'] ?? 0))
  log(replies.ended ?? node.services().join())
  serving.stop()
  // @ts-expect-error a handler answers with bytes
  node.serve('text', () => 'text')
  // @ts-expect-error those that are asked are not chosen by an id
  node.callAll('shout', answer, { peer: node.id })
  // @ts-expect-error there is no such event
  node.on('peer:gone', () => {})
  // @ts-expect-error a time is a number of milliseconds
  await node.setTtl('10s')
  const secret: Secret = Secret.parse(new Uint8Array(32))
  await (await Node.start({ secret })).close()
  await Node.start({ secret: 'swarm.key' })
  // @ts-expect-error what a file holds is parsed first
  await Node.start({ secret: new Uint8Array(32) })
  const fingerprint: string = secret.fingerprint
  log([fingerprint])
  await (await Node.start({ allow: node.id, deny: new Set([peers.toFixed()]) })).close()
  node.allow(node.id)
  node.disallow([node.id])
  node.setAllowed(new Set([node.id]))
  node.deny([...view].map(record => record.peer))
  node.undeny([])
  node.setDenied(node.denied())
  node.allowAll()
  const allowed: string[] | undefined = node.allowed()
  log(allowed ?? [])
  await (await Node.start({ admit: node.id, certificate: 'node.cert', revoked: 'revoked' })).close()
  await (await Node.start({ admit: [node.id], certificate: answer })).close()
  node.renew(answer)
  const many: number = node.revoke(answer)
  log(many)
  // @ts-expect-error what a file holds is bytes
  node.renew('node.cert')
  // @ts-expect-error peers are named by their ids
  node.deny([found])
  await Node.start({ limits: { connections: 64, rpc: { streamsPerPeer: 4, idle: 60_000 }, table: { records: 1000 } } })
  await Node.start({ power: 'low' })
  await Node.start({ pace: 'fixed', budget: 500 })
  // @ts-expect-error there is no such pace
  await Node.start({ pace: 'slow' })
  // @ts-expect-error there is no such profile
  await Node.start({ power: 'lower' })
  await node.pause({ signal: AbortSignal.timeout(5000) })
  if (node.isPaused()) await node.resume()
  // @ts-expect-error there is no such limit
  await Node.start({ limits: { rpc: { nothing: 1 } } })
  // @ts-expect-error there is no such option
  await Node.start({ name: 'x' })
  // @ts-expect-error an index has one field
  view.count({ match: { age: '3' } })
  subscription.cancel()
  for await (const event of node.events()) log(event)
  for await (const change of node.subscribe('meta:role=worker')) {
    log(change)
    if (change.kind === 'dropped') log(change.count)
    else log(change.record.peer)
  }
  for await (const peer of node.findPeers({ limit: 3, timeout: 1000 })) log(peer)
  const info: PeerInfo = node.info()
  const peer: string = await node.connect(info)
  const remote = await node.viewOf(peer)
  for await (const record of remote.iter()) log(record.peer)
  try {
    node.addrs()
  } catch (error) {
    if (error instanceof CasmError) {
      const code: ErrorCode = error.code
      log(code)
    }
  }
  await using nodes = await cluster(3)
  const values: { [name: string]: number } = nodes[0]!.metricsSnapshot()
  log(values)
}

function log(_: Change | Event | Found | string | number | object): void {}
