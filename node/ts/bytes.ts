/** Byte streams. */

import { Duplex } from 'node:stream'
import type { NativeByteStream } from './native.js'
import { call, type Holder } from './port.js'

/** The most bytes that are read at once. */
const PIECE = 65536

/**
 * A stream of bytes to and from a peer: a `Duplex` as any other.
 *
 * `end()` ends what is written, and reading goes on. `destroy()` before that
 * resets it: to the peer it is broken, as far as its transport tells that (over
 * QUIC it looks as the end does). So a protocol should say how much is to come.
 *
 * An `error` event to which nobody listens doesn't end the program: a peer could
 * cause one.
 */
export class ByteStream extends Duplex {
  readonly #native: NativeByteStream
  readonly #holder: Holder

  /** @internal */
  constructor(native: NativeByteStream, holder: Holder) {
    // A `for await` that has come to the end would destroy it, though there may be
    // an answer to write.
    super({ autoDestroy: false, readableHighWaterMark: PIECE, writableHighWaterMark: PIECE })
    this.#native = native
    this.#holder = holder
    this.on('error', () => {})
    const over = () => {
      if (this.readableEnded && this.writableFinished) this.destroy()
    }
    this.once('end', over).once('finish', over)
  }

  /** The id of the peer at the other end. */
  get peer(): string {
    return this.#native.peer
  }

  /** The protocol. */
  get protocol(): string {
    return this.#native.protocol
  }

  /** Ends what is written, waits until it is sent, and reads no more. */
  async close(): Promise<void> {
    if (this.destroyed) return
    if (!this.writableFinished) {
      await new Promise<void>((resolve, reject) => {
        this.once('error', reject)
        this.once('close', resolve)
        this.end(resolve)
      })
    }
    this.destroy()
  }

  /** @internal */
  override _read(): void {
    const read = (id: number) => this.#native.read(id, PIECE)
    call('read', this.#holder, read, work => work.data!).then(
      bytes => {
        const { buffer, byteOffset, byteLength } = bytes
        this.push(byteLength === 0 ? null : Buffer.from(buffer, byteOffset, byteLength))
      },
      error => this.destroy(error),
    )
  }

  /** @internal */
  override _write(chunk: Uint8Array, _: string, done: (error?: Error) => void): void {
    const write = (id: number) => this.#native.write(id, chunk)
    call('write', this.#holder, write, () => {}).then(() => done(), error => this.#fail(error, done))
  }

  /** @internal */
  override _writev(chunks: { chunk: Uint8Array }[], done: (error?: Error) => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), '', done)
  }

  /** @internal */
  override _final(done: (error?: Error) => void): void {
    call('end', this.#holder, id => this.#native.closeWrite(id), () => {}).then(
      () => done(),
      error => this.#fail(error, done),
    )
  }

  #fail(error: Error, done: (error?: Error) => void): void {
    done(error)
    this.destroy(error)
  }

  /** @internal */
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#native.reset()
    done(error)
  }

  /** @internal */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `ByteStream { ${this.protocol} to ${this.peer}${this.destroyed ? ', closed' : ''} }`
  }
}
