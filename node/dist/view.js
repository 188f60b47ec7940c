"use strict";
/** Who is there: a snapshot of the cluster, or the view of another node. */
Object.defineProperty(exports, "__esModule", { value: true });
exports.RemoteView = exports.View = void 0;
const check_js_1 = require("./check.js");
const errors_js_1 = require("./errors.js");
const port_js_1 = require("./port.js");
const query_js_1 = require("./query.js");
const record_js_1 = require("./record.js");
const stream_js_1 = require("./stream.js");
function first(records) {
    return records ? new record_js_1.Record(records, 0) : undefined;
}
/** A snapshot of the cluster: it stays as it was. */
class View {
    #view;
    /** @internal */
    constructor(view) {
        this.#view = view;
    }
    /** How many records there are. */
    get size() {
        return this.#view.length;
    }
    /** Every record. */
    [Symbol.iterator]() {
        return this.iter();
    }
    /** The records that a query finds, in its order. */
    iter(query) {
        const asked = (0, query_js_1.spec)(query);
        return each((0, errors_js_1.guard)(() => this.#view.iter(asked)));
    }
    /** The first record that a query finds. */
    lookup(query) {
        const asked = (0, query_js_1.spec)(query);
        return first((0, errors_js_1.guard)(() => this.#view.lookup(asked)));
    }
    /** How many records a query finds. */
    count(query) {
        const asked = (0, query_js_1.spec)(query);
        return (0, errors_js_1.guard)(() => this.#view.count(asked));
    }
    /** The record of a peer. */
    get(peer) {
        (0, check_js_1.string)('peer', peer);
        return first((0, errors_js_1.guard)(() => this.#view.get(peer)));
    }
}
exports.View = View;
function* each(records) {
    const { length } = records;
    for (let n = 0; n < length; n++)
        yield new record_js_1.Record(records, n);
}
/**
 * The view of another node, as it is there: each query is answered by that node
 * when it is asked.
 */
class RemoteView {
    #view;
    #holder;
    /** @internal */
    constructor(view, holder) {
        this.#view = view;
        this.#holder = holder;
    }
    /** The id of the node whose view it is. */
    get peer() {
        return this.#view.peer;
    }
    /** The records that a query finds, as they come. */
    iter(query, wait) {
        const asked = (0, query_js_1.spec)(query);
        const given = (0, check_js_1.signal)(wait);
        return new stream_js_1.Stream((0, errors_js_1.guard)(() => this.#view.iter(asked)), this.#holder, record_js_1.itself, given);
    }
    /** The first record that a query finds. */
    async lookup(query, wait) {
        const asked = (0, query_js_1.spec)(query);
        return this.#call('lookup', id => this.#view.lookup(id, asked), work => first(work.record), wait);
    }
    /** How many records a query finds. They are all sent here for that. */
    async count(query, wait) {
        const asked = (0, query_js_1.spec)(query);
        return this.#call('count', id => this.#view.count(id, asked), work => work.count, wait);
    }
    /** The record of a peer. */
    async get(peer, wait) {
        (0, check_js_1.string)('peer', peer);
        return this.#call('get', id => this.#view.get(id, peer), work => first(work.record), wait);
    }
    #call(what, start, convert, wait) {
        return (0, port_js_1.call)(what, this.#holder, start, convert, (0, check_js_1.signal)(wait));
    }
}
exports.RemoteView = RemoteView;
