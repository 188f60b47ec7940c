// The one implementation is that for `require`: with two, an error of one would
// not be an instance of the other's class.
export { CasmError, ERROR_CODES, forwardLogs, Key, Node, Record, RemoteView, Stream, Subscription, version, View, } from './index.js';
