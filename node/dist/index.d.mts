export { CasmError, ERROR_CODES, forwardLogs, Key, Node, Record, RemoteView, Stream, Subscription, version, View, } from './index.js';
export type { Change, ErrorCode, Event, EventName, Events, FindOptions, Found, Index, Limits, LogRecord, Options, PeerInfo, Query, Wait, } from './index.js';
