/** What a node is told before it starts. */

import { peerIds } from './admission.js'
import { boolean, callback, exact, fields, ms, number, properties, string, strings, whole, wrong } from './check.js'
import { Key, nativeKey } from './key.js'
import type { NativeKey, NativeSecret } from './native.js'
import type { Event } from './record.js'
import { hidden, nativeSecret, Secret } from './secret.js'

/**
 * What a node can be told before it starts. Every option can be left out: then
 * nodes of one machine, or one local network, find each other.
 */
export interface Options {
  /** The cluster to join. Default `casm`. */
  namespace?: string
  /** Multiaddrs to listen at. Default: TCP and QUIC on every interface, at free ports. */
  listen?: string | readonly string[]
  /**
   * Where to look for peers: `auto`, `none`, or addresses such as
   * `/ip4/10.0.0.0/udp/8822/cidr/24`. Default: the environment variable
   * `CASM_BOOT`, or `auto`.
   */
  boot?: string | readonly string[]
  /** Where to answer those who look, beside what `boot` implies. */
  serve?: string | readonly string[]
  /**
   * Where others reach this node behind a port mapping, such as
   * `/ip4/203.0.113.7/tcp/4001`: told to all, before the addresses that the
   * node finds. Default: the environment variable `CASM_ANNOUNCE`, or none.
   */
  announce?: string | readonly string[]
  /** Whether nothing but `announce` is told. */
  announceOnly?: boolean
  /** The name of this host, for others to read. Default: the machine's. */
  host?: string
  /** What others may know and query of this node. */
  meta?: { readonly [key: string]: string }
  /**
   * Milliseconds for which others keep its record without hearing from it, 1000 to
   * 86400000. Default 10000; with low power 600000. Longer in a large cluster, unless
   * `pace` is `fixed`.
   */
  ttl?: number
  /** Whether to look on only, without being in the cluster. */
  observer?: boolean
  /** The folder in which the node keeps what is to outlast it, such as the peers it knows. */
  data?: string
  /** The longest pause between two exchanges of peers, in milliseconds: 100 to 86400000. */
  pexTick?: number
  /**
   * How much the node does of itself: `low` is for what runs on a battery, with a TTL of
   * 600000, pings once a minute, three connections of its own, TCP alone, and discovery
   * only while it has no peer. Default `normal`.
   */
  power?: 'normal' | 'low'
  /**
   * Whether the TTL grows with the cluster, so that all its nodes together stay within
   * the `budget`. Default `auto`.
   */
  pace?: 'auto' | 'fixed'
  /**
   * How many heartbeats the whole cluster may send in a second: 1 to 100000, the same for
   * all its nodes. Default 150.
   */
  budget?: number
  /** Limits on what is spent on peers. */
  limits?: Limits
  /** The node's identity: a key, or the file of one. Default: a fresh one. */
  key?: Key | string
  /**
   * The pre-shared key of a private cluster, or the file of one, a `swarm.key`. Who
   * doesn't hold it learns nothing of the cluster; QUIC is off. Default: the file
   * that the environment variable `CASM_SECRET_FILE` names, or none, and the cluster
   * is open.
   */
  secret?: Secret | string
  /**
   * The ids of the peers that are taken, and no others; of this node it needs none.
   * Default, and if there are none: everybody. See `Node.allow`.
   */
  allow?: string | Iterable<string>
  /** The ids of peers that are not taken, whether they are allowed or not. See `Node.deny`. */
  deny?: string | Iterable<string>
  /**
   * The ids of the authorities whose certificates make a member. Who has no valid
   * certificate can't connect, and nothing that it signed is taken. Default: none, and
   * no certificates are needed.
   */
  admit?: string | Iterable<string>
  /**
   * The certificate of this node's `key`, needed with `admit`: its file, which is read
   * again when it changes, or the bytes of one.
   */
  certificate?: string | Uint8Array
  /**
   * A file of revocations, which is read again when it changes: whose certificates they
   * take back is put out. One member that has it suffices.
   */
  revoked?: string
  /** Whether this node relays for peers that nobody else can reach. For a node that others can reach. */
  relay?: boolean
  /** How much it relays. Only with `relay`. */
  relayLimits?: RelayLimits
  /**
   * Whether this node, when it can't be reached itself, asks relays among its peers to
   * take what is for it, and tries to get from there to direct connections. Default true.
   */
  useRelays?: boolean
  /** Whether this node asks the network's gateway to let others in, by UPnP. */
  upnp?: boolean
  /**
   * Is called with every event of the node from its first on, such as where it
   * listens: as `on('event', …)` does with those that come later.
   */
  onEvent?: (event: Event) => unknown
}

/** Limits on what is spent on peers. */
export interface Limits {
  /** Established connections, from 1 up. Default 512. */
  connections?: number
  /** Established connections with one peer, from 1 up. Default 4. */
  connectionsPerPeer?: number
  /** Connections being set up, in each direction, from 1 up. Default 128. */
  pending?: number
  /** Fraction of the machine's memory which this process may use before new connections are refused, above 0 and up to 1. Default 0.9. */
  memory?: number
  /** What capabilities may cost, such as the view that is served to other nodes. */
  rpc?: RpcLimits
  /** What the cluster view may hold. */
  table?: TableLimits
}

/** How much a relay gives. */
export interface RelayLimits {
  /** Peers that may be reached over this node, 1 to 4096. Default 64. */
  reservations?: number
  /** Connections that are relayed at once, 1 to 4096. Default 128. */
  circuits?: number
  /** Bytes that one may carry both ways together before it is closed, 65536 to 2 ** 40. Default 268435456. */
  circuitBytes?: number
  /** Milliseconds that one may last, 10000 to 86400000. Default 3600000. */
  circuitTime?: number
}

/** What the cluster view may hold. */
export interface TableLimits {
  /** Records, 16 to 16777216. Default 131072. */
  records?: number
  /** Bytes of memory, as estimated, from 1048576 up. Default 268435456. */
  bytes?: number
  /** Departed peers whose sequence numbers are remembered, from 1 up. Default 65536. */
  remembered?: number
  /**
   * Milliseconds for which a peer must have been there so that no stranger takes its
   * place in a full table. Default 600000.
   */
  probation?: number
}

/**
 * What RPC may cost, for each stream, for each peer, and in all. A stream is one
 * connection of RPC.
 */
export interface RpcLimits {
  /** Bytes of one message that is received, 4096 to 67108864: a larger one ends the stream. Default 1048576. */
  messageBytes?: number
  /** Bytes of the calls that a stream has brought and that are not yet answered, at least `messageBytes`. Default 2097152. */
  heldBytes?: number
  /** Bytes that wait to be written on a stream, from 65536 up: while there are more, nothing is read from it. Default 262144. */
  queuedBytes?: number
  /** Bytes of all streams together, at least `messageBytes`: from half of it on, all have equal shares of the rest. Default 67108864. */
  totalBytes?: number
  /** Calls that a stream has brought and that are not yet finished, from 1 up. Default 4096. */
  calls?: number
  /** Capabilities that a stream exports, and that it imports, from 1 up. Default 1024. */
  capabilities?: number
  /** Streams that one peer may have open, from 1 up. Default 8. */
  streamsPerPeer?: number
  /** Streams that all peers together may have open, from 1 up. Default 256. */
  streams?: number
  /** Milliseconds for which a stream may have neither a message nor a call under way, above 0. Default 600000. */
  idle?: number
  /** Milliseconds for which the peer may take none of the bytes that wait for it, or answer none of the streaming calls, above 0. Default 60000. */
  stall?: number
  /** Milliseconds that a call which a stream has brought may take, above 0. Default 600000. */
  call?: number
}

const RPC_LIMITS = {
  messageBytes: whole,
  heldBytes: whole,
  queuedBytes: whole,
  totalBytes: whole,
  calls: whole,
  capabilities: whole,
  streamsPerPeer: whole,
  streams: whole,
  idle: ms,
  stall: ms,
  call: ms,
}

const TABLE_LIMITS = {
  records: whole,
  bytes: whole,
  remembered: whole,
  probation: ms,
}

const RELAY_LIMITS = {
  reservations: whole,
  circuits: whole,
  circuitBytes: exact,
  circuitTime: ms,
}

const LIMITS = {
  connections: whole,
  connectionsPerPeer: whole,
  pending: whole,
  memory: number,
  rpc: (field: string, value: unknown) => properties(field, value, RPC_LIMITS),
  table: (field: string, value: unknown) => properties(field, value, TABLE_LIMITS),
}

const OPTIONS = {
  namespace: string,
  listen: strings,
  boot: strings,
  serve: strings,
  announce: strings,
  announceOnly: boolean,
  host: string,
  meta: fields,
  ttl: ms,
  observer: boolean,
  data: string,
  pexTick: ms,
  power: string,
  pace: string,
  budget: whole,
  limits: (field: string, value: unknown) => properties(field, value, LIMITS),
  key: (field: string, value: unknown) => {
    if (value instanceof Key || typeof value === 'string') return value
    throw wrong(field, value, 'a Key, or the path of a key file')
  },
  secret: (field: string, value: unknown) => {
    if (value instanceof Secret || typeof value === 'string') return value
    throw hidden(field, 'a Secret, or the path of a swarm.key file')
  },
  allow: peerIds,
  deny: peerIds,
  admit: peerIds,
  certificate: (field: string, value: unknown) => {
    if (value instanceof Uint8Array || typeof value === 'string') return value
    throw wrong(field, value, 'the path of a file, or a Uint8Array with what it holds')
  },
  revoked: string,
  relay: boolean,
  relayLimits: (field: string, value: unknown) => properties(field, value, RELAY_LIMITS),
  useRelays: boolean,
  upnp: boolean,
  onEvent: callback,
}

/** @internal The names of all options. */
export const OPTION_NAMES = {
  node: Object.keys(OPTIONS),
  limits: Object.keys(LIMITS),
  rpc_limits: Object.keys(RPC_LIMITS),
  table_limits: Object.keys(TABLE_LIMITS),
  relay_limits: Object.keys(RELAY_LIMITS),
}

/** @internal */
export function build(options: Options): {
  options: object
  key: NativeKey | undefined
  secret: NativeSecret | undefined
  onEvent: Options['onEvent']
} {
  const { key, secret, certificate, onEvent, ...rest } = properties('', options, OPTIONS)
  return {
    options: {
      ...rest,
      ...(typeof key === 'string' && { keyFile: key }),
      ...(typeof secret === 'string' && { secretFile: secret }),
      ...(certificate !== undefined && { [typeof certificate === 'string' ? 'certificateFile' : 'certificate']: certificate }),
    },
    key: key instanceof Key ? nativeKey(key) : undefined,
    secret: secret instanceof Secret ? nativeSecret(secret) : undefined,
    onEvent: onEvent as Options['onEvent'],
  }
}
