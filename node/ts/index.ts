/**
 * Programs find each other on a network, stay connected, and share a live,
 * queryable picture of who is there, with no server.
 *
 * ```ts
 * import { Node } from 'casm-p2p'
 *
 * await using node = await Node.start({ namespace: 'demo', meta: { role: 'worker' } })
 * const view = await node.waitFor(2)
 * for (const record of view.iter('meta:role=worker')) console.log(record.peer, record.host)
 * ```
 */

import { ofFault, translate } from './errors.js'
import { native } from './native.js'
import { benchEvents, benchFailed, benchView, Node } from './node.js'
import { OPTION_NAMES } from './options.js'
import { EVENT_NAMES, KINDS } from './record.js'

export { Answer } from './answer.js'
export { ByteStream } from './bytes.js'
export { Channel, Job, Lease, select, Semaphore, type Branch, type ChannelOptions, type Deadline, type OpenOptions, type Selected } from './channel.js'
export { CasmError, ERROR_CODES, type ErrorCode } from './errors.js'
export { Key } from './key.js'
export { forwardLogs, type LogRecord } from './log.js'
export { Message } from './message.js'
export { Node, type CloseOptions, type FindOptions, type WaitForOptions } from './node.js'
export type { Limits, Options, RelayLimits, RpcLimits, TableLimits } from './options.js'
export type { Peer } from './peer.js'
export type { Index, Match, Query } from './query.js'
export { Record, type Change, type Event, type EventName, type Events, type Found, type PeerInfo, type PeerStatus, type Reachability, type ReachableAddr } from './record.js'
export { Secret } from './secret.js'
export {
  ServiceRequest,
  Serving,
  type CallAllOptions,
  type CallOptions,
  type Handler,
  type PeerReply,
  type ServeOptions,
  type ServiceStats,
  type StreamHandler,
} from './service.js'
export { Stream, Subscription, type Wait } from './stream.js'
export { Topic, type MessageOptions, type PublishOptions, type TopicOptions } from './topic.js'
export { RemoteView, View } from './view.js'
export { version } from './native.js'

// What only tests and measurements reach: all of this is one file when it is built.
const internal = { benchEvents, benchFailed, benchView, EVENT_NAMES, KINDS, native, ofFault, OPTION_NAMES, translate }
Object.defineProperty(Node, Symbol.for('casm-p2p.internal'), { value: internal })
