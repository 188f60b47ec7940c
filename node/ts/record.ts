/** What a peer says of itself, and what happens to a node. */

import { Batch, type Meta } from './batch.js'
import { Message } from './message.js'
import type { Items, Other, PeerArguments } from './native.js'

/** @internal */
export const AS_PEER = Symbol('as a peer')

/** What a peer last said of itself. */
export class Record {
  readonly #batch: Batch
  readonly #n: number
  #meta: Meta | undefined

  /** @internal */
  constructor(batch: Batch, n: number) {
    this.#batch = batch
    this.#n = n
  }

  /** The peer's id. */
  get peer(): string {
    return this.#batch.peer(this.#n)
  }

  /** The number of the peer's instance. */
  get server(): bigint {
    return this.#batch.records.server(this.#n)!
  }

  /** The sequence number: the higher one counts. */
  get seq(): bigint {
    return this.#batch.records.seq(this.#n)!
  }

  /** Milliseconds for which the record is kept without a newer one. */
  get ttl(): number {
    return this.#batch.records.ttl(this.#n)!
  }

  /** The name of the peer's host, as it says. */
  get host(): string {
    return this.#batch.host(this.#n)
  }

  /** What the peer says of itself. */
  get meta(): { readonly [key: string]: string } {
    return (this.#meta ??= this.#batch.meta(this.#n))
  }

  /** Where the peer is reached, as it says: multiaddrs, the most useful first, without `/p2p/<id>`. */
  get addrs(): string[] {
    return this.#batch.records.addrs(this.#n)!
  }

  /** The services that the peer offers, each with its version. */
  get services(): { readonly [name: string]: string } {
    const pairs = this.#batch.records.services(this.#n)!
    const entries: [string, string][] = []
    for (let n = 0; n < pairs.length; n += 2) entries.push([pairs[n]!, pairs[n + 1]!])
    return Object.fromEntries(entries)
  }

  /** The names of the channels that are at the peer's place. */
  get channels(): string[] {
    return this.#batch.records.channels(this.#n)!
  }

  /** The roles that are proven of the peer, as its certificate has them; a node without certificates knows of none. */
  get roles(): string[] {
    return this.#batch.records.roles(this.#n)!
  }

  /** Whether the peer's signature was verified: false only for records of another node's view that it cannot prove. */
  get verified(): boolean {
    return this.#batch.records.verified(this.#n)!
  }

  /** The record as on the command line: numbers that JSON has no room for are strings. */
  toJSON(): object {
    const { peer, server, seq, ttl, host, meta, addrs, services, channels, roles, verified } = this
    const [number, serial] = [server.toString(16).padStart(16, '0'), seq.toString()]
    return { peer, server: number, seq: serial, ttl_ms: ttl, host, meta, addrs, services, channels, roles, verified }
  }

  /** @internal For the native module. */
  [AS_PEER](): PeerArguments {
    return [[], this.#batch.records, this.#n]
  }

  /** @internal */
  [Symbol.for('nodejs.util.inspect.custom')](_: number, __: object, inspect: (value: object) => string): string {
    const { peer, server, seq, ttl, host, meta, addrs, services, channels, roles } = this
    return `Record ${inspect({ peer, server, seq, ttl, host, meta, addrs, services, channels, roles })}`
  }
}

/** A peer, and the addresses at which it can be reached. */
export interface PeerInfo {
  /** The peer's id. */
  id: string
  /** Its multiaddrs. */
  addrs: string[]
}

/** What is known of a connected peer. */
export interface PeerStatus {
  /** The peer's id. */
  peer: string
  /** The other end of each connection, the oldest first. */
  addrs: string[]
  /** Who made the oldest. */
  direction: 'inbound' | 'outbound'
  /** How many milliseconds the answer to the last ping took; not there before the first one. */
  roundTrip?: number
  /** The program that it says it is; not there until it has said so. */
  agent?: string
}

/** Whether others can reach a node, and where. */
export interface Reachability {
  /**
   * `public`: at a public address, as was tried, or as a person or the gateway said.
   * `private`: not directly. `unknown`: nobody has tried yet.
   */
  reach: 'public' | 'private' | 'unknown'
  /** Where, the best first. */
  addrs: ReachableAddr[]
}

/** An address at which a node can be reached. */
export interface ReachableAddr {
  /** The multiaddr, without the `/p2p/<id>` of the node. */
  addr: string
  /** How that is known: as it was configured, by the network's gateway, by a peer that has dialled it, or over a relay. */
  found: 'announced' | 'mapped' | 'dialled' | 'relay'
}

/** A peer that a search found. */
export interface Found {
  /** The boot address that led to it. */
  source: string
  /** The peer. */
  peer: PeerInfo
}

/** What happens to a node, by name: what a listener is called with. */
export interface Events {
  /** The node listens at these addresses. Comes again when they change. */
  listening: { peer: string; addrs: string[] }
  /** A peer came into the view. */
  'peer:joined': Record
  /** A peer says something new of itself. Another TTL alone is no news. */
  'peer:updated': Record
  /**
   * A peer is no longer in the view: it said goodbye, was not heard of, or failed, as
   * peers say that were connected to it.
   */
  'peer:left': { peer: string; reason: 'left' | 'expired' | 'failed' }
  /** Discovery found a peer. */
  'peers:found': Found
  /** The peer-exchange view holds other peers than before. */
  'view:changed': { peers: string[] }
  /** The first connection to a peer was made. */
  connected: { peer: string }
  /** The last connection to a peer was closed. */
  disconnected: { peer: string }
  /** A peer is connected over a relay alone. */
  relayed: { peer: string }
  /** A peer that was connected over a relay is connected directly. */
  direct: { peer: string }
  /** Whether others can reach this node, or where, is another than it was. */
  'reachability:changed': { reachability: Reachability }
  /**
   * This node's clock and those of its peers differ by more than a minute: by so many
   * milliseconds theirs are ahead, as the median (negative: this node's is ahead). `peers` are
   * those that were compared, one of each network; if it is one alone, either may be wrong.
   */
  'clock:differs': { offset: number; peers: string[] }
  /**
   * Another node that runs now uses this node's key: its machine or its data is a copy. Comes
   * once, at both, with what the other one says of itself. Give each node a key of its own.
   */
  'key:shared': Record
  /** The listener was too slow: the oldest events were dropped. */
  dropped: { count: number }
}

/** The names of the events. */
export type EventName = keyof Events

/** Something that happened to a node: `type` is its name. */
export type Event = {
  [Name in EventName]: { type: Name } & (Events[Name] extends Record ? { record: Record } : Events[Name])
}[EventName]

/** What happened to the records that a query finds. */
export type Change =
  /** `current`: it was there when the query began, or after a gap. */
  | { kind: 'current' | 'joined' | 'updated' | 'left'; record: Record; count?: undefined }
  /** So many changes were lost; what is found now comes again as `current`. */
  | { kind: 'dropped'; record?: undefined; count: number }

/** @internal Calls `each` with the number of each item's kind, and what it holds. */
export function visit(items: Items, each: (kind: number, payload: unknown) => void): void {
  const { kinds, others, messages } = items
  const batch = new Batch(items.records)
  let record = 0
  let other = 0
  let message = 0
  for (let n = 0; n < kinds.length; n++) {
    const kind = kinds[n]!
    if (kind === MESSAGE) each(kind, new Message(messages!, message++))
    else each(kind, HOLDS_RECORD[kind] ? new Record(batch, record++) : payload(kind, others[other++]!))
  }
}

/** @internal The names of the kinds of items, as in the native module: an item's kind is a place in this list. */
export const KINDS = [
  'listening',
  'peer:joined',
  'peer:updated',
  'peer:left',
  'peers:found',
  'view:changed',
  'connected',
  'disconnected',
  'relayed',
  'direct',
  'reachability:changed',
  'clock:differs',
  'key:shared',
  'dropped',
  'current',
  'joined',
  'updated',
  'left',
  'changes:dropped',
  'found',
  'record',
  'message',
  'reply',
  'part',
]

const MESSAGE = KINDS.indexOf('message')

const WITH_RECORD = new Set([
  'peer:joined',
  'peer:updated',
  'key:shared',
  'current',
  'joined',
  'updated',
  'left',
  'record',
])
const HOLDS_RECORD = KINDS.map(kind => WITH_RECORD.has(kind))

/** @internal The names of all events. */
export const EVENT_NAMES = KINDS.slice(0, KINDS.indexOf('dropped') + 1) as EventName[]

/** What an item holds that is not about a record. */
function payload(kind: number, other: Other): Other | Found {
  const name = KINDS[kind]
  if (name !== 'peers:found' && name !== 'found') return other
  return { source: other.source!, peer: { id: other.peer!, addrs: other.addrs! } }
}

/** @internal */
export function event(kind: number, held: unknown): Event {
  const type = KINDS[kind] as EventName
  return (HOLDS_RECORD[kind] ? { type, record: held } : { type, ...(held as object) }) as Event
}

/** @internal */
export function change(kind: number, held: unknown): Change {
  if (HOLDS_RECORD[kind]) return { kind: KINDS[kind], record: held } as Change
  return { kind: 'dropped', count: (held as Other).count! }
}

/** @internal */
export function itself<T>(_: number, held: unknown): T {
  return held as T
}
