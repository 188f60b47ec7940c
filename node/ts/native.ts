/** The native module: what it has, and where it is found. */

import type { PeerStatus, Reachability } from './record.js'
import type { ServiceStats } from './service.js'
import { existsSync } from 'node:fs'

/** The build puts it in: to read it from a file would be slower. */
declare const PACKAGE_VERSION: string

/** The version of this package. */
export const version: string = PACKAGE_VERSION

export interface Fault {
  code: string
  message: string
  cause?: string
}

export interface Pending {
  cancel(): void
}

/** The fields of an item that is not about a record. */
export interface Other {
  peer?: string
  addrs?: string[]
  reason?: 'left' | 'expired' | 'failed'
  source?: string
  peers?: string[]
  count?: number
  data?: Uint8Array
  headers?: { [key: string]: string }
  fault?: Fault
}

export interface Records {
  readonly length: number
  server(n: number): bigint | null
  seq(n: number): bigint | null
  ttl(n: number): number | null
  verified(n: number): boolean | null
  addrs(n: number): string[] | null
  services(n: number): string[] | null
  channels(n: number): string[] | null
  roles(n: number): string[] | null
  text(from: number, count: number): Text
}

/** The text of some records; see the native module for what `spans` tells. */
export interface Text {
  text: string
  spans: Uint32Array
}

/** Messages of topics; see the native module for what the arrays tell. */
export interface Messages {
  names: string[]
  sources: Uint32Array
  seqs: BigUint64Array
  ends: Uint32Array
  data: Uint8Array
}

export interface Items {
  kinds: Uint8Array
  records: Records
  others: Other[]
  messages?: Messages
}

export interface LogRecord {
  /** `error`, `warn`, `info`, `debug` or `trace`. */
  level: string
  /** The part of CASM, such as `casm::boot`. */
  target: string
  /** The message, with its fields. */
  message: string
}

/** Something to do, for the call or the subscription of this number. */
export interface Work {
  id: number
  error?: Fault
  items?: Items
  node?: NativeNode
  subscription?: NativeSubscription
  view?: NativeView
  remote?: NativeRemoteView
  record?: Records
  text?: string
  stream?: NativeByteStream
  streams?: NativeByteStream[]
  texts?: string[]
  count?: number
  logs?: LogRecord[]
  channel?: NativeChannel
  parcel?: NativeParcel
  job?: NativeJob
  semaphore?: NativeSemaphore
  lease?: NativeLease
  request?: NativeRequest
  data?: Uint8Array
  headers?: { [key: string]: string }
}

/** How a service is served. */
export interface ServeOptions {
  /** What the record says of it, beside its name. Default `1`. */
  version?: string
  /** Requests that are worked on at once; more are sent on to others. Default 64. */
  maxInflight?: number
  /** Whether the node's record says that it is served. Default true. */
  listed?: boolean
  /**
   * A role, or several, of which a caller must have one in its certificate; this node may call
   * without. Default none: everybody may. Without certificates nobody has a role.
   */
  allow?: string | readonly string[]
}

export interface NativeCallOptions {
  peer?: string[]
  place?: number
  matching?: QuerySpec
  headers?: { readonly [key: string]: string }
  timeout?: number
  wait?: boolean
  idempotent?: boolean
  limit?: number
}

export interface NativeRequest {
  takeData(): Uint8Array
  readonly headers: { [key: string]: string }
  readonly peer: string
  readonly timeLeft: number | null
  readonly cancelled: boolean
  answer(data: Uint8Array, headers?: { readonly [key: string]: string }): void
  fail(why: string): void
  part(id: number, data: Uint8Array): Pending
  onCancel(id: number): void
}

export interface NativeServing {
  stop(): void
}

export interface Port {
  close(timeout: number): void
}

export interface QuerySpec {
  matching?: string
  prefix?: boolean
  from?: string
  to?: string
  limit?: number
  reverse?: boolean
}

export interface NativeView {
  readonly length: number
  iter(query: QuerySpec): Records
  lookup(query: QuerySpec): Records | null
  count(query: QuerySpec): number
  get(peer: string): Records | null
}

export interface NativeRemoteView {
  readonly peer: string
  iter(query: QuerySpec): NativeStream
  lookup(id: number, query: QuerySpec): Pending
  count(id: number, query: QuerySpec): Pending
  get(id: number, peer: string): Pending
}

export interface NativeStream {
  readonly dropped: number
  readonly ended: 'all' | 'limit' | 'timeout' | null
  nextBatch(id: number): Pending
  cancel(): void
}

export interface NativeSubscription {
  readonly cancelled: boolean
  readonly dropped: number
  readonly failed: number
  countFailure(): void
  cancel(): void
}

export interface NativeByteStream {
  readonly peer: string
  readonly protocol: string
  read(id: number, most: number): Pending
  write(id: number, data: Uint8Array): Pending
  closeWrite(id: number): Pending
  reset(): void
}

export interface NativeChannel {
  readonly name: string
  readonly owner: string
  readonly waiting: number | null
  readonly inDoubt: number
  readonly nodeClosed: boolean
  send(id: number, value: Uint8Array, timeout?: number): Pending
  recv(id: number, timeout?: number): Pending
  take(id: number, timeout?: number): Pending
  close(id: number): Pending
}

export interface NativeParcel {
  take(): Uint8Array
  forward(): void
}

export interface NativeJob {
  readonly data: Uint8Array
  readonly lost: boolean
  done(id: number): Pending
  giveBack(id: number): Pending
  forget(): void
}

export interface NativeSemaphore {
  readonly name: string
  readonly owner: string
  acquire(id: number, timeout?: number): Pending
  close(): void
}

export interface NativeLease {
  readonly token: bigint
  readonly lost: boolean
  waitLost(id: number): Pending
  release(): void
}

export interface NativeTopic {
  readonly name: string
  readonly fullName: string
  publish(id: number, data: Uint8Array, timeout?: number): Pending
  peers(): string[]
  waitForPeers(id: number, n: number): Pending
  subscribe(options: object): NativeStream
  onMessage(id: number, options: object): NativeSubscription
  close(): void
}

export interface NativeKey {
  readonly peer: string
  save(path: string): void
}

export interface NativeSecret {
  readonly fingerprint: string
  save(path: string): void
}

/** A peer: what names it, or the record of this number. */
export type PeerArguments = [addrs: string[], records?: Records, n?: number]

export interface NativeNode {
  readonly id: string
  readonly namespace: string
  readonly closed: boolean
  isPaused(): boolean
  addrs(): string[]
  info(): { id: string; addrs: string[] }
  view(): NativeView
  connected(): string[]
  peerStatus(peer: string): PeerStatus | null
  reachability(): Reachability
  metrics(): string
  metricsSnapshot(): { [name: string]: number }
  waitFor(id: number, n: number, query: QuerySpec): Pending
  viewOf(id: number, ...peer: PeerArguments): Pending
  connect(id: number, ...peer: PeerArguments): Pending
  openStream(id: number, protocol: string, timeout: number | undefined, ...peer: PeerArguments): Pending
  onStream(id: number, protocol: string): NativeSubscription
  advertise(id: number, namespace: string, ttl: number): Pending
  setMeta(id: number, meta: { [key: string]: string }): Pending
  updateMeta(id: number, changes: { [key: string]: string | null }): Pending
  setHost(id: number, host: string): Pending
  setTtl(id: number, ttl: number): Pending
  channel(name: string, capacity: number, closeByOthers: boolean): NativeChannel
  openChannel(id: number, name: string, timeout: number | undefined, ...peer: PeerArguments | []): Pending
  semaphore(id: number, name: string, n: number): Pending
  openSemaphore(id: number, name: string, timeout: number | undefined, ...peer: PeerArguments | []): Pending
  serve(id: number, name: string, options: ServeOptions, stream: boolean): NativeServing
  call(id: number, name: string, data: Uint8Array, options: NativeCallOptions, records?: Records): Pending
  callAll(name: string, data: Uint8Array, options: NativeCallOptions): NativeStream
  callStream(name: string, data: Uint8Array, options: NativeCallOptions, records?: Records): NativeStream
  services(): string[]
  serviceStats(name: string): ServiceStats
  allow(ids: string[]): void
  disallow(ids: string[]): void
  allowAll(): void
  setAllowed(ids: string[]): void
  deny(ids: string[]): void
  undeny(ids: string[]): void
  setDenied(ids: string[]): void
  allowed(): string[] | null
  denied(): string[]
  renew(certificate: Uint8Array): void
  revoke(revocations: Uint8Array): number
  pause(id: number): Pending
  resume(id: number): Pending
  close(id: number, grace: number | undefined, handling: boolean): Pending
  events(): NativeStream
  subscribe(query: QuerySpec): NativeStream
  topic(name: string, options: object): NativeTopic
  findPeers(namespace?: string, limit?: number, timeout?: number): NativeStream
  onEvent(id: number): NativeSubscription
  onChange(id: number, query: QuerySpec): NativeSubscription
}

export interface Native {
  version(): string
  kinds(): string[]
  Port: new (deliver: (works: Work[]) => void) => Port
  NativeNode: {
    start(
      port: Port,
      id: number,
      options: object,
      key?: NativeKey,
      secret?: NativeSecret,
      events?: number,
    ): Pending
  }
  NativeKey: {
    generate(): NativeKey
    load(path: string): NativeKey
  }
  NativeSecret: {
    generate(): NativeSecret
    parse(file: Uint8Array): NativeSecret
    load(path: string): NativeSecret
  }
  select(
    id: number,
    channels: NativeChannel[],
    values: (Uint8Array | undefined)[],
    timeout?: number,
  ): Pending
  forwardLogs(port: Port, id: number, level: string): void
  benchEvents(node: NativeNode, id: number, count: number): NativeSubscription
  benchFailed(node: NativeNode, id: number): NativeSubscription
  benchView(records: number): NativeView
}

/** Where the module may be: beside this package, or in one for this platform. */
function candidates(): string[] {
  const name = `casm-p2p-${process.platform}-${process.arch}`
  const packages =
    process.platform === 'linux' ? [`${name}-gnu`, `${name}-musl`]
    : process.platform === 'win32' ? [`${name}-msvc`]
    : [name]
  return ['../casm.node', ...packages]
}

/** Whether a candidate is where npm puts it. */
function inPlace(candidate: string): boolean {
  return existsSync(`${__dirname}/${candidate.startsWith('.') ? candidate : `../../${candidate}/casm.node`}`)
}

/** Whether Node.js finds a candidate, which takes ten times as long. */
function found(candidate: string): boolean {
  try {
    require.resolve(candidate)
    return true
  } catch {
    return false
  }
}

function missing(tried: string[]): Error {
  return new Error(
    `casm-p2p: no native module works on ${process.platform} ${process.arch} ` +
      `(${tried.join('; ')}). Install again without --no-optional or --omit=optional, ` +
      'on the platform on which the program is to run.',
  )
}

function load(): Native {
  const tried: string[] = []
  for (const candidate of candidates()) {
    try {
      const module = require(candidate) as Native
      if (module.version() === version) return module
      tried.push(`${candidate}: it has version ${module.version()}, and this package ${version}`)
    } catch (error) {
      const absent = (error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND'
      tried.push(`${candidate}: ${absent ? 'not there' : (error as Error).message}`)
    }
  }
  throw missing(tried)
}

let loaded: Native | undefined

/** The native module. The first call loads it, which takes longer than all else here. */
export function native(): Native {
  return (loaded ??= load())
}

// A package that was installed without it says so at once.
const all = candidates()
if (!all.some(inPlace) && !all.some(found)) throw missing(all.map(candidate => `${candidate}: not there`))
