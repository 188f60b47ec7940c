// What an `import` runs; index.mts says its types. The one implementation is that
// for `require`: with two, an error of one would not be an instance of the
// other's class. Node.js would take longer to read all of it for its names than
// to load it, so that it is led there by a file with one name.
import { casm } from './whole.js'

/** @internal */
export const {
  Answer,
  ByteStream,
  CasmError,
  Channel,
  ERROR_CODES,
  forwardLogs,
  Job,
  Key,
  Lease,
  Message,
  Node,
  Record,
  RemoteView,
  select,
  Semaphore,
  ServiceRequest,
  Serving,
  Stream,
  Subscription,
  Topic,
  version,
  View,
} = casm
