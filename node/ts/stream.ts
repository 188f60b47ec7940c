/** What streams: to iterate over, or to be called with. */

import { signal } from './check.js'
import { aborted } from './errors.js'
import type { NativeStream, NativeSubscription } from './native.js'
import { call, unlessAborted, type Holder } from './port.js'
import { visit } from './record.js'

/** How long to wait. */
export interface Wait {
  /** Calls it off: a `CasmError` whose code is `Timeout` or `Cancelled`. */
  signal?: AbortSignal
}

const NEXT = 'waiting for the next item'

/**
 * Events, changes, peers or records, one after the other. What nobody takes in
 * time is dropped, the oldest first if nothing else was asked, and counted.
 *
 * It is over when the node is closed or the stream cancelled; leaving a
 * `for await` cancels it.
 */
export class Stream<T> {
  readonly #stream: NativeStream
  readonly #holder: Holder
  readonly #convert: (kind: number, held: unknown) => T
  readonly #signal: AbortSignal | undefined
  #items: T[] = []
  #taken = 0
  #pulling: Promise<void> | undefined
  #over = false
  #failed: { error: unknown } | undefined

  /** @internal */
  constructor(
    stream: NativeStream,
    holder: Holder,
    convert: (kind: number, held: unknown) => T,
    signal?: AbortSignal,
  ) {
    this.#stream = stream
    this.#holder = holder
    this.#convert = convert
    this.#signal = signal
  }

  /** The next item. */
  async next(wait?: Wait): Promise<IteratorResult<T, undefined>> {
    const signals = [signal(wait), this.#signal]
    for (;;) {
      for (const given of signals) if (given?.aborted) throw aborted(NEXT, given)
      if (this.#taken < this.#items.length) {
        return { done: false, value: this.#items[this.#taken++]! }
      }
      if (this.#over) return { done: true, value: undefined }
      if (this.#failed) {
        const { error } = this.#failed
        this.#told(error)
        throw error
      }
      // One for all who wait: what it brings is lost by nobody who gives up.
      this.#pulling ??= this.#pull()
      try {
        await unlessAborted(NEXT, this.#pulling, signals)
      } catch (error) {
        this.#told(error)
        throw error
      }
    }
  }

  #told(error: unknown): void {
    if (this.#failed?.error === error) this.#failed = undefined
  }

  async #pull(): Promise<void> {
    try {
      const items: T[] = []
      const batch = await call(NEXT, this.#holder, id => this.#stream.nextBatch(id), work => work.items!)
      visit(batch, (kind, held) => items.push(this.#convert(kind, held)))
      if (items.length === 0) this.#over = true
      if (!this.#over) [this.#items, this.#taken] = [items, 0]
    } catch (error) {
      // It comes once. If all who waited have given up, the next is told of it.
      this.#failed = { error }
      throw error
    } finally {
      this.#pulling = undefined
    }
  }

  /** How many items were lost because nobody took them in time. */
  get dropped(): number {
    return this.#stream.dropped
  }

  /** Of the replies of `callAll`: why they are over, when they are. */
  get ended(): 'all' | 'limit' | 'timeout' | undefined {
    return this.#taken < this.#items.length ? undefined : (this.#stream.ended ?? undefined)
  }

  /** Ends the stream, also for one who is waiting. */
  cancel(): void {
    this.#over = true
    this.#items = []
    this.#stream.cancel()
  }

  /** Ends the stream, as leaving a `for await` does. */
  async return(): Promise<IteratorResult<T, undefined>> {
    this.cancel()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cancel()
  }
}

/** A callback's subscription. It lasts until it is cancelled, or the node closed. */
export class Subscription {
  readonly #subscription: NativeSubscription
  readonly #ended: () => void
  #cancelled = false

  /** @internal */
  constructor(subscription: NativeSubscription, ended: () => void) {
    this.#subscription = subscription
    this.#ended = ended
  }

  /** Calls the callback no more. */
  cancel(): void {
    this.#cancelled = true
    this.#subscription.cancel()
    this.#ended()
  }

  /** Whether it was cancelled. */
  get cancelled(): boolean {
    return this.#cancelled
  }

  /** How many items were lost because the callback was too slow: the oldest are dropped. */
  get dropped(): number {
    return this.#subscription.dropped
  }

  /** How many calls of the callback threw, or gave a promise that was rejected. */
  get failed(): number {
    return this.#subscription.failed
  }

  [Symbol.dispose](): void {
    this.cancel()
  }
}
