/** Services: serving them, and calling those of others. */

import { AsyncLocalStorage } from 'node:async_hooks'
import { Answer } from './answer.js'
import { boolean, fields, ms, properties, string, strings, whole, wrong } from './check.js'
import { CasmError, ofFault } from './errors.js'
import type { NativeCallOptions, NativeRequest, NativeServing, Other, PeerArguments, Records, ServeOptions } from './native.js'
import { peerArguments, type Peer } from './peer.js'
import { call, listen, report, unlisten, type Holder } from './port.js'
import { spec, type Query } from './query.js'
import type { Wait } from './stream.js'

export type { ServeOptions } from './native.js'

/** Whom to ask, and how. */
export interface CallAllOptions extends Wait {
  /** Which members may be asked. */
  where?: Query | string
  /** What goes along with the request: at most 16, with 4 KiB in all. */
  headers?: { readonly [key: string]: string }
  /**
   * How long to wait at most, in milliseconds; `Infinity`: without a limit. Default 10,000, and no
   * limit for an answer in parts.
   */
  timeout?: number
  /** The most replies. */
  limit?: number
}

/** Whom to ask, and how. */
export interface CallOptions extends Omit<CallAllOptions, 'limit'> {
  /** Whom to ask, and nobody else. It is connected to as by `connect`. */
  peer?: Peer
  /** Whether to wait until somebody serves it. Default false. */
  wait?: boolean
  /** Whether it may be worked on twice: another member is asked also when a connection is lost. Default false. */
  idempotent?: boolean
}

/** What one of those that were asked said: `data` or `error` is there. */
export interface PeerReply {
  /** The id of who was asked. */
  peer: string
  /** Its answer. */
  data?: Uint8Array
  /** What came along with the answer. */
  headers: { readonly [key: string]: string }
  /** Why there is no answer. */
  error?: CasmError
}

/** What a service that is served here has done so far. */
export interface ServiceStats {
  /** Requests that a handler has worked on, or works on. */
  calls: number
  /** Requests without an answer, by kind. */
  failures: { readonly [kind: string]: number }
  /** Requests that are being worked on. */
  inFlight: number
  /** Seconds that handlers took, all together. */
  seconds: number
}

/** What answers requests: with an `Answer`, if it has headers. */
export type Handler = (request: ServiceRequest) => Uint8Array | undefined | void | PromiseLike<Uint8Array | undefined | void>

/** What answers requests in parts. */
export type StreamHandler = (request: ServiceRequest) => AsyncIterable<Uint8Array> | Iterable<Uint8Array>

/** A request, as its handler gets it. */
export class ServiceRequest {
  readonly #native: NativeRequest
  readonly #deadline: number | undefined
  readonly #data: Uint8Array
  #abort: AbortController | undefined

  /** @internal */
  constructor(request: NativeRequest) {
    this.#native = request
    this.#data = request.takeData()
    const left = request.timeLeft
    this.#deadline = left === null ? undefined : Date.now() + left
  }

  /** What was asked. */
  get data(): Uint8Array {
    return this.#data
  }

  /** What came along with it. */
  get headers(): { readonly [key: string]: string } {
    return this.#native.headers
  }

  /** The id of who asks. */
  get peer(): string {
    return this.#native.peer
  }

  /** Until when the answer is waited for, as `Date.now()` has it; `undefined` if there is no limit. */
  get deadline(): number | undefined {
    return this.#deadline
  }

  /** Whether nobody waits for the answer any more. */
  get cancelled(): boolean {
    return this.#native.cancelled
  }

  /** Is aborted when nobody waits for the answer any more. */
  get signal(): AbortSignal {
    if (!this.#abort) {
      const abort = (this.#abort = new AbortController())
      const id = listen(() => {
        unlisten(id)
        abort.abort(new CasmError('Cancelled', 'nobody waits for the answer any more'))
      })
      waiting.set(this, id)
      this.#native.onCancel(id)
    }
    return this.#abort.signal
  }
}

/** The numbers under which requests are told that they are called off. */
const waiting = new WeakMap<ServiceRequest, number>()

/** A service that is served, until it is stopped or its node is closed, also if nobody holds this. */
export class Serving {
  /** The service's name. */
  readonly name: string
  readonly #native: NativeServing
  readonly #ended: () => void

  /** @internal */
  constructor(name: string, native: NativeServing, ended: () => void) {
    this.name = name
    this.#native = native
    this.#ended = ended
  }

  /** Serves it no more. Requests that have come are answered. */
  stop(): void {
    this.#native.stop()
    this.#ended()
  }

  [Symbol.dispose](): void {
    this.stop()
  }
}

/** The id of the node of which a handler runs. */
const handling = new AsyncLocalStorage<string>()

/** @internal Whether a handler of this node waits for what is called. */
export function isHandling(node: string): boolean {
  return handling.getStore() === node
}

/** @internal Has a handler answer a request. */
export function run(
  node: string,
  holder: Holder,
  native: NativeRequest,
  handler: Handler | StreamHandler,
  stream: boolean,
): void {
  const request = new ServiceRequest(native)
  const work = stream ? sendParts(holder, native, request, handler as StreamHandler) : answer
  const ended = handling.run(node, async () => {
    try {
      await work(native, request, handler as Handler)
    } catch (error) {
      const cancelled = error instanceof CasmError && error.code === 'Cancelled' && request.cancelled
      if (!cancelled) report('a handler of a service', error)
      native.fail(said(error))
    } finally {
      const id = waiting.get(request)
      if (id !== undefined) unlisten(id)
    }
  })
  void ended
}

async function answer(native: NativeRequest, request: ServiceRequest, handler: Handler): Promise<void> {
  const given = await handler(request)
  const data = given === undefined || given === null ? new Uint8Array() : bytes('what the handler gave', given)
  native.answer(data, data instanceof Answer ? data.headers : undefined)
}

function sendParts(holder: Holder, native: NativeRequest, request: ServiceRequest, handler: StreamHandler) {
  return async (): Promise<void> => {
    for await (const part of handler(request)) {
      const data = bytes('what the handler gave', part)
      await call('sending a part', holder, id => native.part(id, data), () => {})
    }
    native.answer(new Uint8Array())
  }
}

/** What an error says, never its stack. */
function said(error: unknown): string {
  try {
    if (error instanceof Error) return error.message || error.name
    return String(error)
  } catch {
    return 'the handler failed'
  }
}

/** @internal */
export function bytes(field: string, value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value
  throw wrong(field, value, 'a Uint8Array')
}

const SERVE = { version: string, maxInflight: whole, listed: boolean, allow: strings }
const ALL = { where: (_: string, value: never) => spec(value), headers: fields, timeout: ms, limit: whole }
const CALL = { ...ALL, peer: (_: string, value: never) => peerArguments(value), wait: boolean, idempotent: boolean }

/** @internal */
export function serveOptions(options: ServeOptions): ServeOptions {
  return properties('', options, SERVE)
}

/** @internal The options of a call, its signal, and where the record of whom to ask is. */
export function callOptions(options: object, all = false): [NativeCallOptions, Wait, Records | undefined] {
  const { signal, ...rest } = options as Wait
  const { limit: _, ...call } = CALL
  const { where, peer, ...checked } = properties('', rest, all ? ALL : call)
  const [names, records, place] = (peer ?? []) as Partial<PeerArguments>
  const asked: { [name: string]: unknown } = { ...checked }
  if (where !== undefined) asked.matching = where
  if (names !== undefined) asked.peer = names
  if (place !== undefined) asked.place = place
  return [asked as NativeCallOptions, signal === undefined ? {} : { signal }, records]
}

/** @internal */
export function part(_: number, held: unknown): Uint8Array {
  return (held as Other).data!
}

/** @internal */
export function reply(_: number, held: unknown): PeerReply {
  const { peer, data, headers, fault } = held as Other
  const rest = fault ? { error: ofFault(fault) } : { data: data! }
  return { peer: peer!, headers: headers ?? {}, ...rest }
}
