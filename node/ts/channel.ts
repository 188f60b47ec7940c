/** Channels, select and semaphores. */

import { boolean, ms, properties, signal, whole, wrong } from './check.js'
import { guard } from './errors.js'
import { native, type NativeChannel, type NativeJob, type NativeLease, type NativeSemaphore, type Pending, type Work } from './native.js'
import { call, Holder } from './port.js'
import { bytes } from './service.js'
import type { Wait } from './stream.js'

/** How a channel of this node is. */
export interface ChannelOptions {
  /** How many values may wait in it, 0 to 1048576. Default 0: each is handed from sender to receiver. */
  capacity?: number
  /** Whether any other node may close it too. Default: no. */
  closeByOthers?: boolean
}

/** How long to wait. */
export interface Deadline extends Wait {
  /**
   * Milliseconds. A send that fails with `Timeout` was not taken in, and will not
   * be; one that its `signal` calls off may have been.
   */
  timeout?: number
}

/** @internal */
export interface Limits {
  timeout?: number | undefined
  signal?: AbortSignal | undefined
}

const given = (_: string, value: unknown) => value

/** How long opening something of another node may take. */
export interface OpenOptions extends Wait {
  /** Milliseconds; `Infinity`: without a limit. Default 10,000. */
  timeout?: number
}

/** @internal */
export function deadline(wait: Deadline | OpenOptions | undefined): Limits {
  if (wait === undefined) return {}
  const { timeout } = properties('', wait, { timeout: ms, signal: given }) as Deadline
  return { timeout, signal: signal({ signal: wait.signal }) }
}

/** @internal */
export function channelOptions(options: ChannelOptions): { capacity: number; closeByOthers: boolean } {
  const checked = properties('', options, { capacity: whole, closeByOthers: boolean }) as ChannelOptions
  return { capacity: checked.capacity ?? 0, closeByOthers: checked.closeByOthers ?? false }
}

interface Inside {
  native: NativeChannel
  holder: Holder
}

const inside = new WeakMap<Channel, Inside>()

/**
 * A channel: values are handed from senders to receivers, each to one, at the
 * place of one node, its owner. A value is never received twice, and lost only
 * with a process.
 *
 * `for await` receives, until the channel is closed and empty.
 */
export class Channel {
  /** @internal */
  constructor(native: NativeChannel, holder: Holder) {
    inside.set(this, { native, holder })
  }

  get #native(): NativeChannel {
    return inside.get(this)!.native
  }

  /** Its name. */
  get name(): string {
    return this.#native.name
  }

  /** The id of the node whose it is. */
  get owner(): string {
    return this.#native.owner
  }

  /** How many values wait in it; `undefined` if it is another node's. */
  get waiting(): number | undefined {
    return this.#native.waiting ?? undefined
  }

  /**
   * How many values of a channel elsewhere may be ours, or are and were not
   * received yet: the next receivers here get them.
   */
  get inDoubt(): number {
    return this.#native.inDoubt
  }

  /**
   * Sends a value of at most 1 MiB, and waits until there is room for it, or, at
   * capacity 0, until it is received.
   */
  async send(value: Uint8Array, wait?: Deadline): Promise<void> {
    bytes('value', value)
    const { timeout, signal } = deadline(wait)
    return this.#call('send', id => this.#native.send(id, value, timeout), () => {}, signal)
  }

  /** Receives a value. Called off, it loses none. */
  async recv(wait?: Deadline): Promise<Uint8Array> {
    const { timeout, signal } = deadline(wait)
    return this.#call('recv', id => this.#native.recv(id, timeout), work => work.parcel!.take(), signal)
  }

  /**
   * Takes a value as a job, which comes back to the channel unless it is done: at
   * least once. For jobs that must survive their worker.
   */
  async take(wait?: Deadline): Promise<Job> {
    const { timeout, signal } = deadline(wait)
    const { holder } = inside.get(this)!
    return this.#call('take', id => this.#native.take(id, timeout), work => new Job(work.job!, holder), signal)
  }

  /**
   * Closes it: sends fail from now on, and receivers get what is in it and then
   * end. Its owner may, and others if it was made so.
   */
  async close(wait?: Wait): Promise<void> {
    return this.#call('close', id => this.#native.close(id), () => {}, signal(wait))
  }

  /** To receive from it in a `select`. */
  receiving(): Branch {
    return { channel: this }
  }

  /** To send this to it in a `select`; it must be this node's own. */
  sending(value: Uint8Array): Branch {
    return { channel: this, value: bytes('value', value) }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    while (true) {
      let value: Uint8Array
      try {
        value = await this.recv()
      } catch (error) {
        if ((error as { code?: string }).code === 'Closed' && !this.#native.nodeClosed) return
        throw error
      }
      yield value
    }
  }

  #call<T>(
    what: string,
    start: (id: number) => Pending,
    convert: (work: Work) => T,
    signal?: AbortSignal,
  ): Promise<T> {
    return call(what, inside.get(this)!.holder, start, convert, signal)
  }
}

/** One thing that `select` may do: of `channel.receiving()` or `channel.sending()`. */
export interface Branch {
  readonly channel: Channel
  readonly value?: Uint8Array
}

/** What `select` did: the branch at `index`, and the value if that received one. */
export interface Selected {
  index: number
  value?: Uint8Array
}

/**
 * Does the first of some branches that can be done. If several can be done, one
 * is chosen at random; one that was not chosen has had no effect.
 *
 * Channels that are closed and empty are passed over while there are others; with
 * the last of them it fails with `Closed`.
 */
export async function select(branches: readonly Branch[], wait?: Deadline): Promise<Selected> {
  if (!Array.isArray(branches)) throw wrong('branches', branches, 'an array of branches')
  const { timeout, signal } = deadline(wait)
  const parts = branches.map((branch: Branch, n) => {
    const part = inside.get(branch?.channel)
    if (!part) throw wrong(`branches[${n}]`, branch, 'what receiving() or sending() of a channel gives')
    return part
  })
  const channels = parts.map(part => part.native)
  const values = branches.map((branch: Branch) => branch.value)
  const holder = parts[0]?.holder ?? new Holder()
  const selected = (work: Work): Selected => {
    const value = work.parcel?.take()
    return value === undefined ? { index: work.count! } : { index: work.count!, value }
  }
  return call('select', holder, id => native().select(id, channels, values, timeout), selected, signal)
}

/**
 * A value that was taken as a job. It goes back to the head of the channel when it
 * is given back, at the end of an `await using` in which it was not done, when the
 * connection to the channel's owner ends, or if that hears nothing for 10 s.
 */
export class Job {
  readonly #job: NativeJob
  readonly #holder: Holder
  /** The value. */
  readonly data: Uint8Array

  /** @internal */
  constructor(job: NativeJob, holder: Holder) {
    this.#job = job
    this.#holder = holder
    this.data = job.data
  }

  /** Whether it has gone back, or is ended. */
  get lost(): boolean {
    return this.#job.lost
  }

  /**
   * The job is done, and the value gone from the channel. Fails with `NotFound` if
   * it has gone back, so that another may do it too.
   */
  async done(wait?: Wait): Promise<void> {
    return call('done', this.#holder, id => this.#job.done(id), () => {}, signal(wait))
  }

  /** The value goes back to where it was. */
  async giveBack(wait?: Wait): Promise<void> {
    return call('giveBack', this.#holder, id => this.#job.giveBack(id), () => {}, signal(wait))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Whatever that fails with, it goes back all the same.
    if (!this.lost) await this.giveBack().catch(() => {})
  }
}

/** A semaphore: so many may hold a lease of it at a time. */
export class Semaphore {
  readonly #semaphore: NativeSemaphore
  readonly #holder: Holder

  /** @internal */
  constructor(semaphore: NativeSemaphore, holder: Holder) {
    this.#semaphore = semaphore
    this.#holder = holder
  }

  /** Its name. */
  get name(): string {
    return this.#semaphore.name
  }

  /** The id of the node whose it is. */
  get owner(): string {
    return this.#semaphore.owner
  }

  /** Waits for a lease, in the order of asking. */
  async acquire(wait?: Deadline): Promise<Lease> {
    const { timeout, signal } = deadline(wait)
    const lease = (work: Work) => new Lease(work.lease!, this.#holder)
    return call('acquire', this.#holder, id => this.#semaphore.acquire(id, timeout), lease, signal)
  }

  /** Closes it: nobody is granted anything any more. Its owner alone may. */
  close(): void {
    guard(() => this.#semaphore.close())
  }
}

/**
 * What is held of a semaphore, until it is released, or lost: it is renewed by
 * itself, and lost if its owner can't be reached for 10 s.
 *
 * A process that was stopped meanwhile may still act as if it held it: give the
 * token to what the lease protects, which should refuse a lower one than it has
 * seen.
 */
export class Lease {
  readonly #lease: NativeLease
  readonly #holder: Holder

  /** @internal */
  constructor(lease: NativeLease, holder: Holder) {
    this.#lease = lease
    this.#holder = holder
  }

  /** Grows with every grant, also over a restart of the owner if that has `data`. */
  get token(): bigint {
    return this.#lease.token
  }

  /** Whether it is not held any more. */
  get lost(): boolean {
    return this.#lease.lost
  }

  /** Waits until it is not held any more. */
  async waitLost(wait?: Wait): Promise<void> {
    return call('waitLost', this.#holder, id => this.#lease.waitLost(id), () => {}, signal(wait))
  }

  /** Gives it back. It doesn't wait. */
  release(): void {
    this.#lease.release()
  }

  [Symbol.dispose](): void {
    this.release()
  }
}
