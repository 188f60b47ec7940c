/** Calls into the native module that wait, and what keeps the program alive. */

import { aborted, ofFault, translate } from './errors.js'
import { native, type Pending, type Port, type Work } from './native.js'

/** How long leaving may take at the end of a program that closed nothing. */
const AT_EXIT = 300

const handlers = new Map<number, (work: Work) => void>()
let port: Port | undefined
let last = 0

/** The way into this thread, which the first call makes. */
export function open(): Port {
  if (!port) {
    const opened = new (native().Port)(deliver)
    process.once('exit', () => opened.close(AT_EXIT))
    port = opened
  }
  return port
}

function deliver(works: Work[]): void {
  for (const work of works) {
    const handler = handlers.get(work.id)
    if (handler) {
      handler(work)
    } else if (work.node) {
      // It was called off when it had started already.
      work.node.close(listen(() => {}), 0, false)
    } else {
      // Its service was stopped meanwhile; collected, it would keep its place until then.
      work.request?.fail('the service was stopped')
      work.stream?.reset()
      work.streams?.forEach(stream => stream.reset())
      // Nobody has seen what came: the next gets it.
      work.parcel?.forward()
      work.job?.forget()
      work.lease?.release()
    }
  }
}

/** A number under which a handler is called: a new one, or one that had another handler. */
export function listen(handler: (work: Work) => void, number = unused()): number {
  handlers.set(number, handler)
  return number
}

function unused(): number {
  do last = (last + 1) >>> 0
  while (handlers.has(last))
  return last
}

export function unlisten(id: number): void {
  handlers.delete(id)
}

/** Logs what a callback threw. */
export function report(what: string, error: unknown): void {
  console.error(`casm: ${what} failed, and goes on to be called:`, error)
}

let timer: NodeJS.Timeout | undefined
let holds = 0

function hold(by: 1 | -1): void {
  holds += by
  timer ??= setInterval(() => {}, 2 ** 30)
  if (holds > 0) timer.ref()
  else timer.unref()
}

/**
 * Whether something keeps the program alive: while it waits, always, or never.
 */
export class Holder {
  #mode: 'waiting' | 'always' | 'never' = 'waiting'
  #waiting = 0
  #held = false

  wait(): () => void {
    this.#waiting++
    this.#update()
    return () => {
      this.#waiting--
      this.#update()
    }
  }

  set mode(mode: 'waiting' | 'always' | 'never') {
    this.#mode = mode
    this.#update()
  }

  #update(): void {
    const held = this.#mode === 'always' || (this.#mode === 'waiting' && this.#waiting > 0)
    if (held !== this.#held) {
      this.#held = held
      hold(held ? 1 : -1)
    }
  }
}

/** Starts a call, and waits for its result. */
export function call<T>(
  what: string,
  holder: Holder,
  start: (id: number) => Pending,
  convert: (work: Work) => T,
  signal?: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(aborted(what, signal))
      return
    }
    let pending: Pending | undefined
    const release = holder.wait()
    const id = listen(work => {
      end()
      if (work.error) reject(ofFault(work.error))
      else resolve(convert(work))
    })
    const end = () => {
      unlisten(id)
      release()
      signal?.removeEventListener('abort', abort)
    }
    const abort = () => {
      end()
      pending?.cancel()
      reject(aborted(what, signal!))
    }
    try {
      pending = start(id)
      signal?.addEventListener('abort', abort)
    } catch (error) {
      end()
      reject(translate(error))
    }
  })
}

/** Waits for something that goes on when the signal is aborted. */
export async function unlessAborted<T>(
  what: string,
  promise: Promise<T>,
  signals: (AbortSignal | undefined)[],
): Promise<T> {
  const given = signals.filter(signal => signal !== undefined)
  if (given.length === 0) return promise
  const undo: (() => void)[] = []
  const abort = new Promise<never>((_, reject) => {
    for (const signal of given) {
      const fail = () => reject(aborted(what, signal))
      if (signal.aborted) fail()
      signal.addEventListener('abort', fail)
      undo.push(() => signal.removeEventListener('abort', fail))
    }
  })
  try {
    return await Promise.race([promise, abort])
  } finally {
    undo.forEach(remove => remove())
  }
}

