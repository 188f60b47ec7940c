"use strict";
/** Calls into the native module that wait, and what keeps the program alive. */
Object.defineProperty(exports, "__esModule", { value: true });
exports.Holder = void 0;
exports.open = open;
exports.listen = listen;
exports.unlisten = unlisten;
exports.report = report;
exports.call = call;
exports.unlessAborted = unlessAborted;
const errors_js_1 = require("./errors.js");
const native_js_1 = require("./native.js");
/** How long leaving may take at the end of a program that closed nothing. */
const AT_EXIT = 300;
const handlers = new Map();
let port;
let last = 0;
/** The way into this thread, which the first call makes. */
function open() {
    if (!port) {
        const opened = new native_js_1.native.Port(deliver);
        process.once('exit', () => opened.close(AT_EXIT));
        port = opened;
    }
    return port;
}
function deliver(works) {
    for (const work of works) {
        const handler = handlers.get(work.id);
        if (handler) {
            handler(work);
        }
        else if (work.node) {
            // It was called off when it had started already.
            work.node.close(listen(() => { }));
        }
    }
}
/** A number under which a handler is called. */
function listen(handler) {
    do
        last = (last + 1) >>> 0;
    while (handlers.has(last));
    handlers.set(last, handler);
    return last;
}
function unlisten(id) {
    handlers.delete(id);
}
/** Logs what a callback threw. */
function report(what, error) {
    console.error(`casm: ${what} failed, and goes on to be called:`, error);
}
let timer;
let holds = 0;
function hold(by) {
    holds += by;
    timer ??= setInterval(() => { }, 2 ** 30);
    if (holds > 0)
        timer.ref();
    else
        timer.unref();
}
/**
 * Whether something keeps the program alive: while it waits, always, or never.
 */
class Holder {
    #mode = 'waiting';
    #waiting = 0;
    #held = false;
    wait() {
        this.#waiting++;
        this.#update();
        return () => {
            this.#waiting--;
            this.#update();
        };
    }
    set mode(mode) {
        this.#mode = mode;
        this.#update();
    }
    #update() {
        const held = this.#mode === 'always' || (this.#mode === 'waiting' && this.#waiting > 0);
        if (held !== this.#held) {
            this.#held = held;
            hold(held ? 1 : -1);
        }
    }
}
exports.Holder = Holder;
/** Starts a call, and waits for its result. */
function call(what, holder, start, convert, signal) {
    return new Promise((resolve, reject) => {
        if (signal?.aborted) {
            reject((0, errors_js_1.aborted)(what, signal));
            return;
        }
        let pending;
        const release = holder.wait();
        const id = listen(work => {
            end();
            if (work.error)
                reject((0, errors_js_1.ofFault)(work.error));
            else
                resolve(convert(work));
        });
        const end = () => {
            unlisten(id);
            release();
            signal?.removeEventListener('abort', abort);
        };
        const abort = () => {
            end();
            pending?.cancel();
            reject((0, errors_js_1.aborted)(what, signal));
        };
        try {
            pending = start(id);
            signal?.addEventListener('abort', abort);
        }
        catch (error) {
            end();
            reject((0, errors_js_1.translate)(error));
        }
    });
}
/** Waits for something that goes on when the signal is aborted. */
async function unlessAborted(what, promise, signals) {
    const given = signals.filter(signal => signal !== undefined);
    if (given.length === 0)
        return promise;
    const undo = [];
    const abort = new Promise((_, reject) => {
        for (const signal of given) {
            const fail = () => reject((0, errors_js_1.aborted)(what, signal));
            if (signal.aborted)
                fail();
            signal.addEventListener('abort', fail);
            undo.push(() => signal.removeEventListener('abort', fail));
        }
    });
    try {
        return await Promise.race([promise, abort]);
    }
    finally {
        undo.forEach(remove => remove());
    }
}
