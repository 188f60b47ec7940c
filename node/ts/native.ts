/** The native module: what it has, and where it is found. */

import type { PeerStatus } from './record.js'
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
  reason?: 'left' | 'expired'
  source?: string
  peers?: string[]
  count?: number
}

export interface Records {
  readonly length: number
  server(n: number): bigint | null
  seq(n: number): bigint | null
  ttl(n: number): number | null
  verified(n: number): boolean | null
  text(from: number, count: number): Text
}

/** The text of some records; see the native module for what `spans` tells. */
export interface Text {
  text: string
  spans: Uint32Array
}

export interface Items {
  kinds: Uint8Array
  records: Records
  others: Other[]
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
  count?: number
  logs?: LogRecord[]
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

export interface NativeKey {
  readonly peer: string
  save(path: string): void
}

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
  metrics(): string
  metricsSnapshot(): { [name: string]: number }
  waitFor(id: number, n: number, query: QuerySpec): Pending
  viewOf(id: number, peer: string): Pending
  connect(id: number, addrs: string[]): Pending
  advertise(id: number, namespace: string, ttl: number): Pending
  setMeta(id: number, meta: { [key: string]: string }): Pending
  updateMeta(id: number, changes: { [key: string]: string | null }): Pending
  setHost(id: number, host: string): Pending
  setTtl(id: number, ttl: number): Pending
  pause(id: number): Pending
  resume(id: number): Pending
  close(id: number): Pending
  events(): NativeStream
  subscribe(query: QuerySpec): NativeStream
  findPeers(namespace?: string, limit?: number, timeout?: number): NativeStream
  onEvent(id: number): NativeSubscription
  onChange(id: number, query: QuerySpec): NativeSubscription
}

export interface Native {
  version(): string
  kinds(): string[]
  Port: new (deliver: (works: Work[]) => void) => Port
  NativeNode: {
    start(port: Port, id: number, options: object, key?: NativeKey, events?: number): Pending
  }
  NativeKey: {
    generate(): NativeKey
    load(path: string): NativeKey
  }
  forwardLogs(port: Port, id: number, level: string): void
  benchEvents(node: NativeNode, id: number, count: number): NativeSubscription
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
