"use strict";
/** What streams: to iterate over, or to be called with. */
Object.defineProperty(exports, "__esModule", { value: true });
exports.Subscription = exports.Stream = void 0;
const check_js_1 = require("./check.js");
const errors_js_1 = require("./errors.js");
const port_js_1 = require("./port.js");
const record_js_1 = require("./record.js");
const NEXT = 'waiting for the next item';
/**
 * Events, changes, peers or records, one after the other. What nobody takes in
 * time is dropped, the oldest first, and counted.
 *
 * It is over when the node is closed or the stream cancelled; leaving a
 * `for await` cancels it.
 */
class Stream {
    #stream;
    #holder;
    #convert;
    #signal;
    #items = [];
    #taken = 0;
    #pulling;
    #over = false;
    /** @internal */
    constructor(stream, holder, convert, signal) {
        this.#stream = stream;
        this.#holder = holder;
        this.#convert = convert;
        this.#signal = signal;
    }
    /** The next item. */
    async next(wait) {
        const signals = [(0, check_js_1.signal)(wait), this.#signal];
        for (;;) {
            for (const given of signals)
                if (given?.aborted)
                    throw (0, errors_js_1.aborted)(NEXT, given);
            if (this.#taken < this.#items.length) {
                return { done: false, value: this.#items[this.#taken++] };
            }
            if (this.#over)
                return { done: true, value: undefined };
            // One for all who wait: what it brings is lost by nobody who gives up.
            this.#pulling ??= this.#pull();
            await (0, port_js_1.unlessAborted)(NEXT, this.#pulling, signals);
        }
    }
    async #pull() {
        try {
            const items = [];
            const batch = await (0, port_js_1.call)(NEXT, this.#holder, id => this.#stream.nextBatch(id), work => work.items);
            (0, record_js_1.visit)(batch, (kind, held) => items.push(this.#convert(kind, held)));
            if (items.length === 0)
                this.#over = true;
            if (!this.#over)
                [this.#items, this.#taken] = [items, 0];
        }
        finally {
            this.#pulling = undefined;
        }
    }
    /** How many items were lost because nobody took them in time. */
    get dropped() {
        return this.#stream.dropped;
    }
    /** Ends the stream, also for one who is waiting. */
    cancel() {
        this.#over = true;
        this.#items = [];
        this.#stream.cancel();
    }
    /** Ends the stream, as leaving a `for await` does. */
    async return() {
        this.cancel();
        return { done: true, value: undefined };
    }
    [Symbol.asyncIterator]() {
        return this;
    }
    async [Symbol.asyncDispose]() {
        this.cancel();
    }
}
exports.Stream = Stream;
/** A callback's subscription. It lasts until it is cancelled, or the node closed. */
class Subscription {
    #subscription;
    #ended;
    #cancelled = false;
    /** @internal */
    constructor(subscription, ended) {
        this.#subscription = subscription;
        this.#ended = ended;
    }
    /** Calls the callback no more. */
    cancel() {
        this.#cancelled = true;
        this.#subscription.cancel();
        this.#ended();
    }
    /** Whether it was cancelled. */
    get cancelled() {
        return this.#cancelled;
    }
    /** How many items were lost because the callback was too slow: the oldest are dropped. */
    get dropped() {
        return this.#subscription.dropped;
    }
    /** How many calls of the callback threw, or gave a promise that was rejected. */
    get failed() {
        return this.#subscription.failed;
    }
    [Symbol.dispose]() {
        this.cancel();
    }
}
exports.Subscription = Subscription;
