/** Who is there: a snapshot of the cluster, or the view of another node. */

import { Batch } from './batch.js'
import { signal, string } from './check.js'
import { guard } from './errors.js'
import type { NativeRemoteView, NativeView, Pending, Records, Work } from './native.js'
import { call, type Holder } from './port.js'
import { spec, type Query } from './query.js'
import { itself, Record } from './record.js'
import { Stream, type Wait } from './stream.js'

function first(records: Records | null | undefined): Record | undefined {
  return records ? new Record(new Batch(records), 0) : undefined
}

/** A snapshot of the cluster: it stays as it was. */
export class View implements Iterable<Record> {
  readonly #view: NativeView

  /** @internal */
  constructor(view: NativeView) {
    this.#view = view
  }

  /** How many records there are. */
  get size(): number {
    return this.#view.length
  }

  /** Every record. */
  [Symbol.iterator](): IterableIterator<Record> {
    return this.iter()
  }

  /** The records that a query finds, in its order. */
  iter(query?: Query | string): IterableIterator<Record> {
    const asked = spec(query)
    return each(guard(() => this.#view.iter(asked)))
  }

  /** The first record that a query finds. */
  lookup(query: Query | string): Record | undefined {
    const asked = spec(query)
    return first(guard(() => this.#view.lookup(asked)))
  }

  /** How many records a query finds. */
  count(query?: Query | string): number {
    const asked = spec(query)
    return guard(() => this.#view.count(asked))
  }

  /** The record of a peer. */
  get(peer: string): Record | undefined {
    string('peer', peer)
    return first(guard(() => this.#view.get(peer)))
  }
}

function* each(records: Records): IterableIterator<Record> {
  const { length } = records
  const batch = new Batch(records)
  for (let n = 0; n < length; n++) yield new Record(batch, n)
}

/**
 * The view of another node, as it is there: each query is answered by that node
 * when it is asked.
 */
export class RemoteView {
  readonly #view: NativeRemoteView
  readonly #holder: Holder

  /** @internal */
  constructor(view: NativeRemoteView, holder: Holder) {
    this.#view = view
    this.#holder = holder
  }

  /** The id of the node whose view it is. */
  get peer(): string {
    return this.#view.peer
  }

  /** The records that a query finds, as they come. */
  iter(query?: Query | string, wait?: Wait): Stream<Record> {
    const asked = spec(query)
    const given = signal(wait)
    return new Stream<Record>(guard(() => this.#view.iter(asked)), this.#holder, itself, given)
  }

  /** The first record that a query finds. */
  async lookup(query: Query | string, wait?: Wait): Promise<Record | undefined> {
    const asked = spec(query)
    return this.#call('lookup', id => this.#view.lookup(id, asked), work => first(work.record), wait)
  }

  /** How many records a query finds. They are all sent here for that. */
  async count(query?: Query | string, wait?: Wait): Promise<number> {
    const asked = spec(query)
    return this.#call('count', id => this.#view.count(id, asked), work => work.count!, wait)
  }

  /** The record of a peer. */
  async get(peer: string, wait?: Wait): Promise<Record | undefined> {
    string('peer', peer)
    return this.#call('get', id => this.#view.get(id, peer), work => first(work.record), wait)
  }

  #call<T>(what: string, start: (id: number) => Pending, convert: (work: Work) => T, wait?: Wait): Promise<T> {
    return call(what, this.#holder, start, convert, signal(wait))
  }
}
