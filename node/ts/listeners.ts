/** The listeners of a node: they are called until they are cancelled, and may fail. */

import { guard } from './errors.js'
import type { NativeSubscription, Work } from './native.js'
import { listen, report, unlisten } from './port.js'
import { visit } from './record.js'
import { Subscription } from './stream.js'

/** A listener, and what it subscribed to. */
interface Listening {
  name: string
  listener: unknown
  subscription: Subscription
}

/** Calls a listener with something. */
export type Run = (tell: (payload: unknown) => unknown, payload: unknown) => void

/** Those of one node. */
export class Listeners {
  readonly #all = new Set<Listening>()

  /** Adds one that is called with items, as `each` says. */
  add(
    name: string,
    listener: unknown,
    start: (id: number) => NativeSubscription,
    each: (run: Run) => (kind: number, held: unknown) => void,
    number?: number,
  ): Subscription {
    const deliver = (run: Run) => {
      const visitor = each(run)
      return (work: Work) => visit(work.items!, visitor)
    }
    return this.deliver(name, listener, start, deliver, number)
  }

  /** Adds one that is called with what is handed over. */
  deliver(
    name: string,
    listener: unknown,
    start: (id: number) => NativeSubscription,
    deliver: (run: Run) => (work: Work) => void,
    number?: number,
  ): Subscription {
    const fail = (error: unknown) => {
      started.countFailure()
      report(`a listener for ${JSON.stringify(name)}`, error)
    }
    const handler = deliver((tell, payload) => {
      if (one.subscription.cancelled) return
      try {
        const result = tell(payload)
        if (result instanceof Promise) result.catch(fail)
      } catch (error) {
        fail(error)
      }
    })
    const id = listen(handler, number)
    const started = attempt(id, start)
    const subscription = new Subscription(started, () => {
      unlisten(id)
      this.#all.delete(one)
    })
    const one: Listening = { name, listener, subscription }
    this.#all.add(one)
    return subscription
  }

  /** Cancels all, or some. */
  cancel(which: (one: { name: string; listener: unknown }) => boolean = () => true): void {
    for (const one of [...this.#all]) {
      if (which(one)) one.subscription.cancel()
    }
  }
}

function attempt(id: number, start: (id: number) => NativeSubscription): NativeSubscription {
  try {
    return guard(() => start(id))
  } catch (error) {
    unlisten(id)
    throw error
  }
}
