/** Topics. */

import { boolean, bytes, callback, ms, properties, signal, string, whole, wrong } from './check.js'
import { guard } from './errors.js'
import type { Message } from './message.js'
import type { NativeSubscription, NativeTopic } from './native.js'
import { call, type Holder } from './port.js'
import { spec, type Query } from './query.js'
import { itself } from './record.js'
import { Stream, type Subscription, type Wait } from './stream.js'

/** What a topic is to take. Give all members the same. */
export interface TopicOptions {
  /** Whether the name is taken as it is, 1 to 256 bytes, for a topic of other libp2p programs. */
  exact?: boolean
  /** The most bytes of data, in what is published and in what comes: 1 to 1024000. Default 61440. */
  maxData?: number
  /**
   * Takes the messages of those alone whose record this finds: what comes from
   * others, or from whom no record is here, is neither delivered nor relayed.
   */
  accept?: Query | string
}

/** How a subscriber takes messages. */
export interface MessageOptions extends Wait {
  /** Messages that may wait, 1 to 1048576. Default 1024. */
  queue?: number
  /** Which messages are lost when more come. Default `drop_oldest`. */
  full?: 'drop_oldest' | 'drop_newest'
  /** Whether the node's own messages come too. */
  echo?: boolean
}

/** How long to wait. */
export interface PublishOptions extends Wait {
  /** Milliseconds to wait at most while the node's own queues are full. Default 10000. */
  timeout?: number
}

/** @internal Has a listener called on the node's behalf. */
export type Listen = (
  listener: unknown,
  start: (id: number) => NativeSubscription,
) => Subscription

const TOPIC = { exact: boolean, maxData: whole, accept: (_: string, value: never) => spec(value) }
const MESSAGES = { queue: whole, full: string, echo: boolean }
const PUBLISH = { timeout: ms }

/** @internal */
export function topicOptions(options: unknown): object {
  return properties('', options, TOPIC)
}

/**
 * A handle of a topic. All handles of a topic in one node share it; it is left
 * with the last of them and of their subscriptions, or with the node.
 *
 * A `for await` that waits, or a call, keeps the program alive; a listener does
 * not, unless the node's `ref()` says so.
 */
export class Topic {
  readonly #topic: NativeTopic
  readonly #holder: Holder
  readonly #listen: Listen
  readonly #listening = new Map<unknown, Set<Subscription>>()

  /** @internal */
  constructor(topic: NativeTopic, holder: Holder, listen: Listen) {
    this.#topic = topic
    this.#holder = holder
    this.#listen = listen
  }

  /** The topic's name, as it was given. */
  get name(): string {
    return this.#topic.name
  }

  /** What gossip calls it: `/casm/1.0.0/<namespace>/topic/<name>`, or its exact name. */
  get fullName(): string {
    return this.#topic.fullName
  }

  /**
   * Publishes bytes, or a string as UTF-8, and gives to how many peers the
   * message was sent; they hand it on. 0 is no error. Waits while the node's own
   * queues are full.
   */
  async publish(data: Uint8Array | string, options: PublishOptions = {}): Promise<number> {
    const { signal: given, ...rest } = options
    const { timeout } = properties('', rest, PUBLISH) as PublishOptions
    const sent = bytes('data', data)
    const start = (id: number) => this.#topic.publish(id, sent, timeout)
    return call('publish', this.#holder, start, work => work.count!, signal({ signal: given }))
  }

  /** The ids of the connected peers that have joined the topic. */
  peers(): string[] {
    return guard(() => this.#topic.peers())
  }

  /** Waits until `n` connected peers have joined the topic, and gives their ids. */
  async waitForPeers(n: number, wait?: Wait): Promise<string[]> {
    whole('n', n)
    const start = (id: number) => this.#topic.waitForPeers(id, n)
    return call('waitForPeers', this.#holder, start, work => work.texts!, signal(wait))
  }

  /** What comes from now on, to iterate over. */
  subscribe(options: MessageOptions = {}): Stream<Message> {
    const { signal: given, ...rest } = options
    const checked = properties('', rest, MESSAGES)
    const messages = guard(() => this.#topic.subscribe(checked))
    return new Stream<Message>(messages, this.#holder, itself, signal({ signal: given }))
  }

  /**
   * Calls a listener with what comes from now on. What it throws is logged and
   * counted, and it is called with the next all the same.
   */
  on(name: 'message', listener: (message: Message) => unknown, options: Omit<MessageOptions, 'signal'> = {}): Subscription {
    message(name)
    callback('listener', listener)
    const checked = properties('', options, MESSAGES)
    const subscription = this.#listen(listener, id => this.#topic.onMessage(id, checked))
    const all = this.#listening.get(listener) ?? new Set()
    this.#listening.set(listener, all.add(subscription))
    return subscription
  }

  /** Calls a listener no more. */
  off(name: 'message', listener: (message: Message) => unknown): void {
    message(name)
    for (const subscription of this.#listening.get(listener) ?? []) subscription.cancel()
    this.#listening.delete(listener)
  }

  /** Lets the handle go; others, and subscriptions, go on. */
  close(): void {
    this.#topic.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** @internal */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return `Topic { ${JSON.stringify(this.fullName)} }`
  }
}

function message(name: unknown): void {
  if (name !== 'message') throw wrong('name', name, 'message')
}
