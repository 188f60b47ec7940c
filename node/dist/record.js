"use strict";
/** What a peer says of itself, and what happens to a node. */
Object.defineProperty(exports, "__esModule", { value: true });
exports.EVENT_NAMES = exports.Record = void 0;
exports.visit = visit;
exports.event = event;
exports.change = change;
exports.itself = itself;
const native_js_1 = require("./native.js");
/** What a peer last said of itself. */
class Record {
    #records;
    #n;
    #peer;
    #host;
    #meta;
    /** @internal */
    constructor(records, n) {
        this.#records = records;
        this.#n = n;
    }
    /** The peer's id. */
    get peer() {
        return (this.#peer ??= this.#records.peer(this.#n));
    }
    /** The number of the peer's instance. */
    get server() {
        return this.#records.server(this.#n);
    }
    /** The sequence number: the higher one counts. */
    get seq() {
        return this.#records.seq(this.#n);
    }
    /** Milliseconds for which the record is kept without a newer one. */
    get ttl() {
        return this.#records.ttl(this.#n);
    }
    /** The name of the peer's host, as it says. */
    get host() {
        return (this.#host ??= this.#records.host(this.#n));
    }
    /** What the peer says of itself. */
    get meta() {
        return (this.#meta ??= pairs(this.#records.meta(this.#n)));
    }
    /** The record as on the command line: numbers that JSON has no room for are strings. */
    toJSON() {
        const { peer, server, seq, ttl, host, meta } = this;
        return { peer, server: server.toString(16).padStart(16, '0'), seq: seq.toString(), ttl_ms: ttl, host, meta };
    }
    /** @internal */
    [Symbol.for('nodejs.util.inspect.custom')](_, __, inspect) {
        const { peer, server, seq, ttl, host, meta } = this;
        return `Record ${inspect({ peer, server, seq, ttl, host, meta })}`;
    }
}
exports.Record = Record;
/** An object of these keys and values; `__proto__` is a key like any other. */
function pairs(flat) {
    const entries = [];
    for (let n = 0; n + 1 < flat.length; n += 2)
        entries.push([flat[n], flat[n + 1]]);
    return Object.fromEntries(entries);
}
/** @internal Calls `each` with the number of each item's kind, and what it holds. */
function visit(items, each) {
    const { kinds, records, others } = items;
    let record = 0;
    let other = 0;
    for (let n = 0; n < kinds.length; n++) {
        const kind = kinds[n];
        each(kind, HOLDS_RECORD[kind] ? new Record(records, record++) : payload(kind, others[other++]));
    }
}
const KINDS = native_js_1.native.kinds();
const WITH_RECORD = new Set(['peer:joined', 'peer:updated', 'current', 'joined', 'updated', 'left', 'record']);
const HOLDS_RECORD = KINDS.map(kind => WITH_RECORD.has(kind));
/** @internal The names of all events. */
exports.EVENT_NAMES = KINDS.slice(0, KINDS.indexOf('dropped') + 1);
/** What an item holds that is not about a record. */
function payload(kind, other) {
    const name = KINDS[kind];
    if (name !== 'peers:found' && name !== 'found')
        return other;
    return { source: other.source, peer: { id: other.peer, addrs: other.addrs } };
}
/** @internal */
function event(kind, held) {
    const type = KINDS[kind];
    return (HOLDS_RECORD[kind] ? { type, record: held } : { type, ...held });
}
/** @internal */
function change(kind, held) {
    if (HOLDS_RECORD[kind])
        return { kind: KINDS[kind], record: held };
    return { kind: 'dropped', count: held.count };
}
/** @internal */
function itself(_, held) {
    return held;
}
