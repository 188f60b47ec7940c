"use strict";
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
Object.defineProperty(exports, "__esModule", { value: true });
exports.version = exports.View = exports.RemoteView = exports.Subscription = exports.Stream = exports.Record = exports.Node = exports.forwardLogs = exports.Key = exports.ERROR_CODES = exports.CasmError = void 0;
const native_js_1 = require("./native.js");
var errors_js_1 = require("./errors.js");
Object.defineProperty(exports, "CasmError", { enumerable: true, get: function () { return errors_js_1.CasmError; } });
Object.defineProperty(exports, "ERROR_CODES", { enumerable: true, get: function () { return errors_js_1.ERROR_CODES; } });
var key_js_1 = require("./key.js");
Object.defineProperty(exports, "Key", { enumerable: true, get: function () { return key_js_1.Key; } });
var log_js_1 = require("./log.js");
Object.defineProperty(exports, "forwardLogs", { enumerable: true, get: function () { return log_js_1.forwardLogs; } });
var node_js_1 = require("./node.js");
Object.defineProperty(exports, "Node", { enumerable: true, get: function () { return node_js_1.Node; } });
var record_js_1 = require("./record.js");
Object.defineProperty(exports, "Record", { enumerable: true, get: function () { return record_js_1.Record; } });
var stream_js_1 = require("./stream.js");
Object.defineProperty(exports, "Stream", { enumerable: true, get: function () { return stream_js_1.Stream; } });
Object.defineProperty(exports, "Subscription", { enumerable: true, get: function () { return stream_js_1.Subscription; } });
var view_js_1 = require("./view.js");
Object.defineProperty(exports, "RemoteView", { enumerable: true, get: function () { return view_js_1.RemoteView; } });
Object.defineProperty(exports, "View", { enumerable: true, get: function () { return view_js_1.View; } });
/** The version of this package. */
exports.version = native_js_1.native.version();
