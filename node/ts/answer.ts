/** What services answer. */

import { fields, wrong } from './check.js'
import type { Work } from './native.js'

/**
 * What a service answers: bytes, and what comes along with them.
 *
 * `node.call` gives one. A handler whose answer has headers gives one; who gives what a
 * call gave hands its headers on. What is cut out of one is a plain `Uint8Array`.
 */
export class Answer extends Uint8Array {
  readonly #headers: { readonly [key: string]: string }
  readonly #peer: string | undefined

  /**
   * These bytes, which are not copied, and these headers: at most 16, with 4 KiB in all.
   * With more, the caller gets an error whose code is `TooLarge`.
   */
  constructor(data?: Uint8Array, headers?: { readonly [key: string]: string })
  /** @internal */
  constructor(data: Uint8Array | undefined, headers: { readonly [key: string]: string } | undefined, peer?: string)
  constructor(data = new Uint8Array(), headers: { readonly [key: string]: string } = {}, peer?: string) {
    if (!(data instanceof Uint8Array)) throw wrong('data', data, 'a Uint8Array')
    super(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength)
    this.#headers = fields('headers', headers)
    this.#peer = peer
  }

  static get [Symbol.species](): Uint8ArrayConstructor {
    return Uint8Array
  }

  /** What comes along with it. */
  get headers(): { readonly [key: string]: string } {
    return this.#headers
  }

  /** The id of who answered; `undefined` of what is still to be sent. */
  get peer(): string | undefined {
    return this.#peer
  }
}

/** @internal The answer of a peer. */
export function answerOf({ data, headers, text }: Work): Answer {
  return new Answer(data, headers, text)
}
