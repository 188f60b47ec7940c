// The one implementation is that for `require`: with two, an error of one would
// not be an instance of the other's class.
export {
  CasmError,
  ERROR_CODES,
  forwardLogs,
  Key,
  Node,
  Record,
  RemoteView,
  Stream,
  Subscription,
  version,
  View,
} from './index.js'
export type {
  Change,
  ErrorCode,
  Event,
  EventName,
  Events,
  FindOptions,
  Found,
  Index,
  Limits,
  LogRecord,
  Options,
  PeerInfo,
  Query,
  RpcLimits,
  Wait,
} from './index.js'
