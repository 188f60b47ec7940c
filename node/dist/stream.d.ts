/** What streams: to iterate over, or to be called with. */
/** How long to wait. */
export interface Wait {
    /** Calls it off: a `CasmError` whose code is `Timeout` or `Cancelled`. */
    signal?: AbortSignal;
}
/**
 * Events, changes, peers or records, one after the other. What nobody takes in
 * time is dropped, the oldest first, and counted.
 *
 * It is over when the node is closed or the stream cancelled; leaving a
 * `for await` cancels it.
 */
export declare class Stream<T> {
    #private;
    /** The next item. */
    next(wait?: Wait): Promise<IteratorResult<T, undefined>>;
    /** How many items were lost because nobody took them in time. */
    get dropped(): number;
    /** Ends the stream, also for one who is waiting. */
    cancel(): void;
    /** Ends the stream, as leaving a `for await` does. */
    return(): Promise<IteratorResult<T, undefined>>;
    [Symbol.asyncIterator](): this;
    [Symbol.asyncDispose](): Promise<void>;
}
/** A callback's subscription. It lasts until it is cancelled, or the node closed. */
export declare class Subscription {
    #private;
    /** Calls the callback no more. */
    cancel(): void;
    /** Whether it was cancelled. */
    get cancelled(): boolean;
    /** How many items were lost because the callback was too slow: the oldest are dropped. */
    get dropped(): number;
    /** How many calls of the callback threw, or gave a promise that was rejected. */
    get failed(): number;
    [Symbol.dispose](): void;
}
