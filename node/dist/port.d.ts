/** Calls into the native module that wait, and what keeps the program alive. */
import { type Pending, type Port, type Work } from './native.js';
/** The way into this thread, which the first call makes. */
export declare function open(): Port;
/** A number under which a handler is called. */
export declare function listen(handler: (work: Work) => void): number;
export declare function unlisten(id: number): void;
/** Logs what a callback threw. */
export declare function report(what: string, error: unknown): void;
/**
 * Whether something keeps the program alive: while it waits, always, or never.
 */
export declare class Holder {
    #private;
    wait(): () => void;
    set mode(mode: 'waiting' | 'always' | 'never');
}
/** Starts a call, and waits for its result. */
export declare function call<T>(what: string, holder: Holder, start: (id: number) => Pending, convert: (work: Work) => T, signal?: AbortSignal): Promise<T>;
/** Waits for something that goes on when the signal is aborted. */
export declare function unlessAborted<T>(what: string, promise: Promise<T>, signals: (AbortSignal | undefined)[]): Promise<T>;
