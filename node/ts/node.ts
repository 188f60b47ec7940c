/** The node. */

import { Admission, nativeNode } from './admission.js'
import { answerOf, type Answer } from './answer.js'
import { ByteStream } from './bytes.js'
import { Channel, channelOptions, deadline, Semaphore, type ChannelOptions, type OpenOptions } from './channel.js'
import { callback, changedFields, fields, ms, properties, signal, string, whole, wrong } from './check.js'
import { guard } from './errors.js'
import { Listeners, type Run } from './listeners.js'
import { native, type NativeNode, type NativeSubscription, type Pending, type Work } from './native.js'
import { build, type Options } from './options.js'
import { peerArguments, type Peer } from './peer.js'
import { call, Holder, listen, open, unlisten } from './port.js'
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
  type Reachability,
} from './record.js'
import {
  bytes,
  callOptions,
  isHandling,
  part,
  reply,
  run,
  serveOptions,
  Serving,
  type CallAllOptions,
  type CallOptions,
  type Handler,
  type PeerReply,
  type ServeOptions,
  type ServiceStats,
  type StreamHandler,
} from './service.js'
import { Stream, type Subscription, type Wait } from './stream.js'
import { Topic, topicOptions, type TopicOptions } from './topic.js'
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

/** How a node is closed. */
export interface CloseOptions extends Wait {
  /** How long requests that are worked on may still take, in milliseconds. Default 5,000. */
  grace?: number
}

/** What to wait for, and how long. */
export interface WaitForOptions extends Wait {
  /** What the records are to be found by. Default: all count. */
  query?: Query | string
}

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
export class Node extends Admission {
  readonly #holder: Holder
  readonly #listeners = new Listeners()

  private constructor(node: NativeNode, holder: Holder) {
    super(node)
    this.#holder = holder
    running.add(this)
  }

  /** Starts a node. */
  static async start(options: Options = {}, wait?: Wait): Promise<Node> {
    const { options: checked, key, secret, onEvent } = build(options)
    const holder = new Holder()
    // The number of its events: they come after the node.
    const events = onEvent && listen(() => {})
    const start = (id: number) => native().NativeNode.start(open(), id, checked, key, secret, events)
    const started = (work: Work) => {
      const node = new Node(work.node!, holder)
      const { subscription } = work
      if (onEvent && subscription) node.#listeners.add('event', onEvent, () => subscription, every(onEvent), events)
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
    return nativeNode(this)
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

  /** Whether others can reach this node, and where. `reachability:changed` tells when that changes. */
  reachability(): Reachability {
    return guard(() => this.#node.reachability())
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

  /** The view of a peer, as it is there. Connects to it as `connect` does. */
  async viewOf(peer: Peer, wait?: Wait): Promise<RemoteView> {
    const whom = peerArguments(peer)
    const remote = (work: Work) => new RemoteView(work.remote!, this.#holder)
    return this.#call('viewOf', id => this.#node.viewOf(id, ...whom), remote, wait)
  }

  /**
   * Connects to a peer, and gives its id. The peer is a `Record`, an id, a
   * `PeerInfo`, multiaddrs that end in `/p2p/<id>`, or one multiaddr of whoever
   * answers there. An id leads to where the peer's record or peer exchange says
   * that it is.
   */
  async connect(peer: Peer, wait?: Wait): Promise<string> {
    const whom = peerArguments(peer)
    return this.#call('connect', id => this.#node.connect(id, ...whom), work => work.text!, wait)
  }

  /**
   * Opens a stream of bytes to a peer, to which it connects as `connect` does.
   * `protocol` is a libp2p protocol id of the program's own, such as `/files/1`.
   */
  async openStream(peer: Peer, protocol: string, options?: OpenOptions): Promise<ByteStream> {
    const whom = peerArguments(peer)
    string('protocol', protocol)
    const start = (id: number, timeout?: number) => this.#node.openStream(id, protocol, timeout, ...whom)
    return this.#open('openStream', start, work => new ByteStream(work.stream!, this.#holder), options)
  }

  /**
   * Calls `handler(stream, peer)` with every stream of a protocol that a peer
   * opens. If it throws, or gives a promise that is rejected, the stream is
   * destroyed.
   */
  onStream(protocol: string, handler: (stream: ByteStream, peer: string) => unknown): Subscription {
    string('protocol', protocol)
    callback('handler', handler)
    const handle = (stream: unknown) => {
      const given = stream as ByteStream
      const fail = (error: unknown) => {
        given.destroy()
        throw error
      }
      try {
        const result = handler(given, given.peer)
        return result instanceof Promise ? result.catch(fail) : result
      } catch (error) {
        return fail(error)
      }
    }
    const start = (id: number) => this.#node.onStream(id, protocol)
    const deliver = (run: Run) => (work: Work) => {
      for (const native of work.streams!) run(handle, new ByteStream(native, this.#holder))
    }
    return this.#listeners.deliver(protocol, handler, start, deliver)
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

  /** Changes for how many milliseconds others keep this node's record, and tells them. In a large cluster it may be longer. */
  async setTtl(ttl: number, wait?: Wait): Promise<void> {
    ms('ttl', ttl)
    return this.#call('setTtl', id => this.#node.setTtl(id, ttl), () => {}, wait)
  }

  /**
   * A channel of this node, which others open by its name: one that is here and
   * open, or a new one.
   */
  channel(name: string, options: ChannelOptions = {}): Channel {
    string('name', name)
    const { capacity, closeByOthers } = channelOptions(options)
    return new Channel(guard(() => this.#node.channel(name, capacity, closeByOthers)), this.#holder)
  }

  /**
   * A channel of another node, by its name there: of the one member in whose record it
   * stands, if no peer is given. Connects to it as `connect` does.
   */
  async openChannel(name: string, peer?: Peer, options?: OpenOptions): Promise<Channel> {
    string('name', name)
    const whom = peer === undefined ? [] as const : peerArguments(peer)
    const start = (id: number, timeout?: number) => this.#node.openChannel(id, name, timeout, ...whom)
    return this.#open('openChannel', start, work => new Channel(work.channel!, this.#holder), options)
  }

  /**
   * A semaphore of this node, of which `n` leases are given at a time; others open
   * it by its name. One that is here and open, or a new one.
   */
  async semaphore(name: string, n: number, wait?: Wait): Promise<Semaphore> {
    string('name', name)
    whole('n', n)
    const made = (work: Work) => new Semaphore(work.semaphore!, this.#holder)
    return this.#call('semaphore', id => this.#node.semaphore(id, name, n), made, wait)
  }

  /**
   * A semaphore of another node, by its name there: of the one member in whose record it
   * stands, if no peer is given. Connects to it as `connect` does.
   */
  async openSemaphore(name: string, peer?: Peer, options?: OpenOptions): Promise<Semaphore> {
    string('name', name)
    const whom = peer === undefined ? [] as const : peerArguments(peer)
    const start = (id: number, timeout?: number) => this.#node.openSemaphore(id, name, timeout, ...whom)
    return this.#open('openSemaphore', start, work => new Semaphore(work.semaphore!, this.#holder), options)
  }

  /**
   * Serves a service: `handler` answers each request with bytes, or an `Answer`, which
   * has headers too, or a promise of either. It is served until it is stopped or the
   * node is closed. What the handler throws, the caller gets as an error whose code is
   * `Remote`.
   */
  serve(name: string, handler: Handler, options: ServeOptions = {}): Serving {
    return this.#serve(name, handler, options, false)
  }

  /**
   * Serves a service that answers in parts: `handler` is an asynchronous generator
   * of bytes, up to 64 KiB each. As `serve` in all else.
   */
  serveStream(name: string, handler: StreamHandler, options: ServeOptions = {}): Serving {
    return this.#serve(name, handler, options, true)
  }

  #serve(name: string, handler: Handler | StreamHandler, options: ServeOptions, stream: boolean): Serving {
    string('name', name)
    callback('handler', handler)
    const checked = serveOptions(options)
    const id = listen(work => run(this.id, this.#holder, work.request!, handler, stream))
    try {
      return new Serving(name, guard(() => this.#node.serve(id, name, checked, stream)), () => {})
    } catch (error) {
      unlisten(id)
      throw error
    }
  }

  /**
   * Asks a member that serves this, or `peer` and nobody else, and gives its
   * answer: bytes, which know their `headers` and from which `peer` they are.
   */
  async call(name: string, data: Uint8Array = new Uint8Array(), options: CallOptions = {}): Promise<Answer> {
    string('name', name)
    bytes('data', data)
    const [asked, wait, records] = callOptions(options)
    return this.#call('call', id => this.#node.call(id, name, data, asked, records), answerOf, wait)
  }

  /**
   * Asks all who serve this now, and gives what they answer as it comes. When it is
   * over, `ended` of what this gives says why.
   */
  callAll(name: string, data: Uint8Array = new Uint8Array(), options: CallAllOptions = {}): Stream<PeerReply> {
    string('name', name)
    bytes('data', data)
    const [asked, wait] = callOptions(options, true)
    return new Stream(guard(() => this.#node.callAll(name, data, asked)), this.#holder, reply, signal(wait))
  }

  /** Asks a member for an answer in parts, which come as they are iterated over. */
  callStream(name: string, data: Uint8Array = new Uint8Array(), options: CallOptions = {}): Stream<Uint8Array> {
    string('name', name)
    bytes('data', data)
    const [asked, wait, records] = callOptions(options)
    return new Stream(guard(() => this.#node.callStream(name, data, asked, records)), this.#holder, part, signal(wait))
  }

  /** The names of the services that this node serves. */
  services(): string[] {
    return guard(() => this.#node.services())
  }

  /** What a service that this node serves has done so far. */
  serviceStats(name: string): ServiceStats {
    string('name', name)
    return guard(() => this.#node.serviceStats(name))
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
   * A handle of a topic, which the node joins if it has not. The name is 1 to 48
   * of `A-Z a-z 0-9 . _ -`, and the topic is of the node's cluster.
   */
  topic(name: string, options: TopicOptions = {}): Topic {
    string('name', name)
    const checked = topicOptions(options)
    const topic = guard(() => this.#node.topic(name, checked))
    return new Topic(topic, this.#holder, (listener, start) => {
      const tell = listener as (payload: unknown) => unknown
      return this.#listeners.add('message', listener, start, run => (_, held) => run(tell, held))
    })
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
    return this.#listeners.add(name, listener, start, kind < 0 ? every(tell) : some)
  }

  /** Calls a listener of this name no more. */
  off<Name extends EventName>(name: Name, listener: (payload: Events[Name]) => unknown): void
  off(name: 'event', listener: (event: Event) => unknown): void
  off(name: EventName | 'event', listener: (payload: never) => unknown): void {
    this.#listeners.cancel(one => one.name === name && one.listener === listener)
  }

  /** Calls a listener with what a query finds now, and with every change to that. */
  watch(query: Query | string | undefined, listener: (change: Change) => unknown): Subscription {
    const asked = spec(query)
    callback('listener', listener)
    const start = (id: number) => this.#node.onChange(id, asked)
    const tell = listener as (payload: unknown) => unknown
    return this.#listeners.add('watch', listener, start, run => (kind, held) => run(tell, change(kind, held)))
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
   * of the node is running. Requests that its services work on have `grace`
   * milliseconds (default 5,000) to be answered before. A second call does nothing.
   */
  async close(options: CloseOptions = {}): Promise<void> {
    const { grace, ...rest } = options
    // The signal of an AbortController, which will do as well, is not its own.
    const given = signal('grace' in options ? rest : options)
    if (grace !== undefined) ms('grace', grace)
    const handling = isHandling(this.id)
    try {
      await call('close', this.#holder, id => this.#node.close(id, grace, handling), () => {}, given)
    } finally {
      this.#listeners.cancel()
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

  #open<T>(
    what: string,
    start: (id: number, timeout?: number) => Pending,
    convert: (work: Work) => T,
    options?: OpenOptions,
  ): Promise<T> {
    const { timeout, signal: given } = deadline(options)
    return call(what, this.#holder, id => start(id, timeout), convert, given)
  }
}

/** Calls a listener with every event. */
function every(listener: (event: Event) => unknown): (run: Run) => (kind: number, held: unknown) => void {
  const tell = listener as (payload: unknown) => unknown
  return run => (kind, held) => run(tell, event(kind, held))
}

const FIND = { namespace: string, limit: whole, timeout: ms }

/** @internal For measuring: a listener that is called so many times with an event. */
export function benchEvents(node: Node, count: number, listener: (event: Event) => unknown): NativeSubscription {
  const id = listen(work => visit(work.items!, (kind, held) => listener(event(kind, held))))
  return guard(() => native().benchEvents(nativeNode(node), id, count))
}

/** @internal For tests: a listener that is told once that the node itself has failed. */
export function benchFailed(node: Node, listener: (event: Event) => unknown): NativeSubscription {
  const id = listen(work => visit(work.items!, (kind, held) => listener(event(kind, held))))
  return guard(() => native().benchFailed(nativeNode(node), id))
}

/** @internal For measuring: a view of so many records. */
export function benchView(records: number): View {
  return new View(guard(() => native().benchView(records)))
}
