/** Messages of topics, which come many together. */

import type { Messages } from './native.js'

/** Up to so many bytes, messages that came together share their memory. */
const SHARED = 64 * 1024

/** A message of a topic. */
export class Message {
  readonly #batch: Messages
  readonly #n: number
  #data: Uint8Array | undefined

  /** @internal */
  constructor(batch: Messages, n: number) {
    this.#batch = batch
    this.#n = n
  }

  /** The peer id of who published it: the signature is this peer's. */
  get source(): string {
    return this.#batch.names[this.#batch.sources[this.#n]!]!
  }

  /** Its number: no other message of this source has it. Numbers have gaps. */
  get seq(): bigint {
    return this.#batch.seqs[this.#n]!
  }

  /** What was published. */
  get data(): Uint8Array {
    const { data, ends } = this.#batch
    const part = data.length > SHARED ? 'slice' : 'subarray'
    return (this.#data ??= data[part](this.#n === 0 ? 0 : ends[this.#n - 1], ends[this.#n]))
  }

  /** The message as on the command line: the number is a string, and the data Base64. */
  toJSON(): object {
    const { source, seq, data } = this
    return { source, seq: seq.toString(), data: Buffer.from(data).toString('base64') }
  }

  /** @internal */
  [Symbol.for('nodejs.util.inspect.custom')](_: number, __: object, inspect: (value: object) => string): string {
    const { source, seq, data } = this
    return `Message ${inspect({ source, seq, data })}`
  }
}
