/** The node. */

import { callback, changedFields, fields, ms, properties, signal, string, strings, whole, wrong } from './check.js'
import { guard } from './errors.js'
import { native, type NativeNode, type NativeSubscription, type Pending, type Work } from './native.js'
import { build, type Options } from './options.js'
import { call, Holder, listen, open, report, unlisten } from './port.js'
import { spec, type Query } from './query.js'
import {
  change,
  event,
  EVENT_NAMES,
  itself,
  visit,
  type Change,
  type Event,
  type EventName,
  type Events,
  type Found,
  type PeerInfo,
  type PeerStatus,
} from './record.js'
import { Stream, Subscription, type Wait } from './stream.js'
import { RemoteView, View } from './view.js'

/** What a search for peers is limited by, and of which cluster they are to be. */
export interface FindOptions extends Wait {
  /** The cluster to look for. Default: the node's own. */
  namespace?: string
  /** The most peers. */
  limit?: number
  /** How long to look, in milliseconds. */
  timeout?: number
}

/** What to wait for, and how long. */
export interface WaitForOptions extends Wait {
  /** What the records are to be found by. Default: all count. */
  query?: Query | string
}

/** A listener of events, and what it subscribed to. */
interface Listening {
  name: string
  listener: unknown
  subscription: Subscription
}

const nodes = new WeakMap<Node, NativeNode>()

/** Nodes that are open: they are not collected, whoever forgets them. */
const running = new Set<Node>()

/**
 * A member of a cluster, or an observer of one.
 *
 * It is closed by `close()`, at the end of an `await using`, and when the
 * program or its worker ends. After that its calls throw a `CasmError` whose
 * code is `Closed`.
 *
 * A call or a `for await` that waits keeps the program alive; an open node and
 * its listeners do not, unless `ref()` says so.
 */
export class Node {
  readonly #holder: Holder
  readonly #listening = new Set<Listening>()

  private constructor(node: NativeNode, holder: Holder) {
    this.#holder = holder
    nodes.set(this, node)
    running.add(this)
  }

  /** Starts a node. */
  static async start(options: Options = {}, wait?: Wait): Promise<Node> {
    const { options: checked, key, onEvent } = build(options)
    const holder = new Holder()
    // The number of its events: they come after the node.
    const events = onEvent && listen(() => {})
    const start = (id: number) => native().NativeNode.start(open(), id, checked, key, events)
    const started = (work: Work) => {
      const node = new Node(work.node!, holder)
      const { subscription } = work
      if (onEvent && subscription) node.#listen('event', onEvent, () => subscription, every(onEvent), events)
      return node
    }
    try {
      return await call('starting a node', holder, start, started, signal(wait))
    } catch (error) {
      if (events !== undefined) unlisten(events)
      throw error
    }
  }

  get #node(): NativeNode {
    return nodes.get(this)!
  }

  /** The node's peer id. Also of a closed node. */
  get id(): string {
    return this.#node.id
  }

  /** The cluster's name. Also of a closed node. */
  get namespace(): string {
    return this.#node.namespace
  }

  /** Whether the node is closed. */
  get closed(): boolean {
    return this.#node.closed
  }

  /** Whether the node is paused, or about to be. */
  isPaused(): boolean {
    return guard(() => this.#node.isPaused())
  }

  /** The multiaddrs at which it can be reached, each with its `/p2p/<id>`: none while it is paused. */
  addrs(): string[] {
    return guard(() => this.#node.addrs())
  }

  /** Its id and its addresses, for another node's `connect`. */
  info(): PeerInfo {
    return guard(() => this.#node.info())
  }

  /** The cluster as this node sees it now. */
  view(): View {
    return new View(guard(() => this.#node.view()))
  }

  /** The ids of the peers that are connected now. */
  connected(): string[] {
    return guard(() => this.#node.connected())
  }

  /**
   * What is known of a connected peer: its addresses, who made the connection,
   * the round-trip time, the program. `undefined` if it isn't connected.
   */
  peerStatus(peer: string): PeerStatus | undefined {
    string('peer', peer)
    return guard(() => this.#node.peerStatus(peer)) ?? undefined
  }

  /** The node's counters, in the OpenMetrics text format. */
  metrics(): string {
    return guard(() => this.#node.metrics())
  }

  /** The values of the node's counters now, each by its name and labels as in the text. */
  metricsSnapshot(): { [name: string]: number } {
    return guard(() => this.#node.metricsSnapshot())
  }

  /**
   * Waits until the view holds `n` records, the own one among them, or `n` that
   * a query finds, and gives it.
   */
  async waitFor(n: number, options: WaitForOptions = {}): Promise<View> {
    whole('n', n)
    const { query, ...rest } = options
    const asked = spec(query)
    // The signal of an AbortController, which will do as well, is not its own.
    const wait = 'query' in options ? rest : options
    const start = (id: number) => this.#node.waitFor(id, n, asked)
    return this.#call('waitFor', start, work => new View(work.view!), wait)
  }

  /** The view of a connected peer, as it is there. */
  async viewOf(peer: string, wait?: Wait): Promise<RemoteView> {
    string('peer', peer)
    const remote = (work: Work) => new RemoteView(work.remote!, this.#holder)
    return this.#call('viewOf', id => this.#node.viewOf(id, peer), remote, wait)
  }

  /**
   * Connects to a peer, and gives its id. The peer is a `PeerInfo`, multiaddrs
   * that end in `/p2p/<id>`, or one multiaddr of whoever answers there.
   */
  async connect(peer: PeerInfo | string | readonly string[], wait?: Wait): Promise<string> {
    const addrs =
      typeof peer === 'object' && peer !== null && 'id' in peer ?
        [string('peer.id', peer.id), ...strings('peer.addrs', peer.addrs)]
      : strings('peer', peer)
    return this.#call('connect', id => this.#node.connect(id, addrs), work => work.text!, wait)
  }

  /** Lets others find this node under another namespace too, for `ttl` milliseconds. */
  async advertise(namespace: string, ttl: number, wait?: Wait): Promise<void> {
    string('namespace', namespace)
    ms('ttl', ttl)
    return this.#call('advertise', id => this.#node.advertise(id, namespace, ttl), () => {}, wait)
  }

  /** Changes what others may know of this node, and tells them. */
  async setMeta(meta: { readonly [key: string]: string }, wait?: Wait): Promise<void> {
    const checked = fields('meta', meta)
    return this.#call('setMeta', id => this.#node.setMeta(id, checked), () => {}, wait)
  }

  /**
   * Changes some of what others may know of this node, and tells them: each key
   * gets the value, or goes if that is `null`. No other change comes between.
   */
  async updateMeta(changes: { readonly [key: string]: string | null }, wait?: Wait): Promise<void> {
    const checked = changedFields('changes', changes)
    return this.#call('updateMeta', id => this.#node.updateMeta(id, checked), () => {}, wait)
  }

  /** Changes the host name that others read, and tells them. */
  async setHost(host: string, wait?: Wait): Promise<void> {
    string('host', host)
    return this.#call('setHost', id => this.#node.setHost(id, host), () => {}, wait)
  }

  /** Changes for how many milliseconds others keep this node's record, and tells them. */
  async setTtl(ttl: number, wait?: Wait): Promise<void> {
    ms('ttl', ttl)
    return this.#call('setTtl', id => this.#node.setTtl(id, ttl), () => {}, wait)
  }

  /** What happens from now on, to iterate over. */
  events(wait?: Wait): Stream<Event> {
    const given = signal(wait)
    return new Stream(guard(() => this.#node.events()), this.#holder, event, given)
  }

  /** Follows a query: what it finds now, then every change to that, to iterate over. */
  subscribe(query?: Query | string, wait?: Wait): Stream<Change> {
    const asked = spec(query)
    const given = signal(wait)
    return new Stream(guard(() => this.#node.subscribe(asked)), this.#holder, change, given)
  }

  /**
   * Looks for peers, to iterate over: those that peer exchange knows, then
   * where the boot addresses say. Ends after `limit` peers or `timeout` milliseconds; without either, when it is
   * cancelled.
   */
  findPeers(options: FindOptions = {}): Stream<Found> {
    const { signal: given, ...rest } = options
    const { namespace, limit, timeout } = properties('', rest, FIND) as FindOptions
    const found = guard(() => this.#node.findPeers(namespace, limit, timeout))
    return new Stream<Found>(found, this.#holder, itself, signal({ signal: given }))
  }

  /**
   * Calls a listener with every event of this name from now on, or with every
   * `event`. What it throws is logged and counted, and it is called with the
   * next all the same.
   */
  on<Name extends EventName>(name: Name, listener: (payload: Events[Name]) => unknown): Subscription
  on(name: 'event', listener: (event: Event) => unknown): Subscription
  on(name: EventName | 'event', listener: (payload: never) => unknown): Subscription {
    const kind = EVENT_NAMES.indexOf(name as EventName)
    if (kind < 0 && name !== 'event') throw wrong('name', name, `one of event, ${EVENT_NAMES.join(', ')}`)
    callback('listener', listener)
    const start = (id: number) => this.#node.onEvent(id)
    const tell = listener as (payload: unknown) => unknown
    const some = (run: Run) => (given: number, held: unknown) => {
      if (given === kind) run(tell, held)
    }
    return this.#listen(name, listener, start, kind < 0 ? every(tell) : some)
  }

  /** Calls a listener of this name no more. */
  off<Name extends EventName>(name: Name, listener: (payload: Events[Name]) => unknown): void
  off(name: 'event', listener: (event: Event) => unknown): void
  off(name: EventName | 'event', listener: (payload: never) => unknown): void {
    for (const one of [...this.#listening]) {
      if (one.name === name && one.listener === listener) one.subscription.cancel()
    }
  }

  /** Calls a listener with what a query finds now, and with every change to that. */
  watch(query: Query | string | undefined, listener: (change: Change) => unknown): Subscription {
    const asked = spec(query)
    callback('listener', listener)
    const start = (id: number) => this.#node.onChange(id, asked)
    const tell = listener as (payload: unknown) => unknown
    return this.#listen('watch', listener, start, run => (kind, held) => run(tell, change(kind, held)))
  }

  /** Keeps the program alive until the node is closed. */
  ref(): this {
    if (!this.closed) this.#holder.mode = 'always'
    return this
  }

  /** Lets the program end, though calls of this node wait. */
  unref(): this {
    this.#holder.mode = 'never'
    return this
  }

  /**
   * Leaves the cluster for a while, so that others see it at once, and lets every
   * connection and socket go. The node keeps its key, its view, the peers it knows,
   * what it tells of itself, and every subscription; what needs the network throws a
   * `CasmError` whose code is `Paused`. A second call does nothing.
   */
  async pause(wait?: Wait): Promise<void> {
    return this.#call('pause', id => this.#node.pause(id), () => {}, wait)
  }

  /**
   * Comes back after a pause: listens, connects to who was connected, and announces
   * itself. Subscriptions are told what has changed meanwhile.
   */
  async resume(wait?: Wait): Promise<void> {
    return this.#call('resume', id => this.#node.resume(id), () => {}, wait)
  }

  /**
   * Leaves the cluster, so that others see it at once, and waits until nothing
   * of the node is running. A second call does nothing.
   */
  async close(wait?: Wait): Promise<void> {
    const given = signal(wait)
    try {
      await call('close', this.#holder, id => this.#node.close(id), () => {}, given)
    } finally {
      for (const one of [...this.#listening]) one.subscription.cancel()
      running.delete(this)
      this.#holder.mode = 'waiting'
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** @internal */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `Node { ${this.id} in ${JSON.stringify(this.namespace)}${this.closed ? ', closed' : ''} }`
  }

  #call<T>(what: string, start: (id: number) => Pending, convert: (work: Work) => T, wait?: Wait): Promise<T> {
    return call(what, this.#holder, start, convert, signal(wait))
  }

  #listen(
    name: string,
    listener: unknown,
    start: (id: number) => NativeSubscription,
    each: (run: Run) => (kind: number, held: unknown) => void,
    number?: number,
  ): Subscription {
    const fail = (error: unknown) => {
      started.countFailure()
      report(`a listener for ${JSON.stringify(name)}`, error)
    }
    const visitor = each((tell, payload) => {
      if (one.subscription.cancelled) return
      try {
        const result = tell(payload)
        if (result instanceof Promise) result.catch(fail)
      } catch (error) {
        fail(error)
      }
    })
    const id = listen(work => visit(work.items!, visitor), number)
    const started = attempt(id, start)
    const subscription = new Subscription(started, () => {
      unlisten(id)
      this.#listening.delete(one)
    })
    const one: Listening = { name, listener, subscription }
    this.#listening.add(one)
    return subscription
  }
}

type Run = (tell: (payload: unknown) => unknown, payload: unknown) => void

/** Calls a listener with every event. */
function every(listener: (event: Event) => unknown): (run: Run) => (kind: number, held: unknown) => void {
  const tell = listener as (payload: unknown) => unknown
  return run => (kind, held) => run(tell, event(kind, held))
}

const FIND = { namespace: string, limit: whole, timeout: ms }

function attempt(id: number, start: (id: number) => NativeSubscription): NativeSubscription {
  try {
    return guard(() => start(id))
  } catch (error) {
    unlisten(id)
    throw error
  }
}

/** @internal For measuring: a listener that is called so many times with an event. */
export function benchEvents(node: Node, count: number, listener: (event: Event) => unknown): NativeSubscription {
  const id = listen(work => visit(work.items!, (kind, held) => listener(event(kind, held))))
  return guard(() => native().benchEvents(nodes.get(node)!, id, count))
}

/** @internal For measuring: a view of so many records. */
export function benchView(records: number): View {
  return new View(guard(() => native().benchView(records)))
}
