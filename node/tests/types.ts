// What the types promise: this file need only compile, in strict mode.

import {
  CasmError,
  Key,
  Node,
  type Change,
  type ErrorCode,
  type Event,
  type Found,
  type Options,
  type PeerInfo,
  type Record,
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
  node.on('event', event => {
    if (event.type === 'dropped') console.log(event.count.toFixed())
    // @ts-expect-error only some events hold a record
    console.log(event.record)
  })
  // @ts-expect-error there is no such event
  node.on('peer:gone', () => {})
  // @ts-expect-error a time is a number of milliseconds
  await node.setTtl('10s')
  await Node.start({ limits: { connections: 64, rpc: { streamsPerPeer: 4, idle: 60_000 }, table: { records: 1000 } } })
  await Node.start({ power: 'low' })
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
