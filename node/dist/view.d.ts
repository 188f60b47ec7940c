/** Who is there: a snapshot of the cluster, or the view of another node. */
import { type Query } from './query.js';
import { Record } from './record.js';
import { Stream, type Wait } from './stream.js';
/** A snapshot of the cluster: it stays as it was. */
export declare class View implements Iterable<Record> {
    #private;
    /** How many records there are. */
    get size(): number;
    /** Every record. */
    [Symbol.iterator](): IterableIterator<Record>;
    /** The records that a query finds, in its order. */
    iter(query?: Query | string): IterableIterator<Record>;
    /** The first record that a query finds. */
    lookup(query: Query | string): Record | undefined;
    /** How many records a query finds. */
    count(query?: Query | string): number;
    /** The record of a peer. */
    get(peer: string): Record | undefined;
}
/**
 * The view of another node, as it is there: each query is answered by that node
 * when it is asked.
 */
export declare class RemoteView {
    #private;
    /** The id of the node whose view it is. */
    get peer(): string;
    /** The records that a query finds, as they come. */
    iter(query?: Query | string, wait?: Wait): Stream<Record>;
    /** The first record that a query finds. */
    lookup(query: Query | string, wait?: Wait): Promise<Record | undefined>;
    /** How many records a query finds. They are all sent here for that. */
    count(query?: Query | string, wait?: Wait): Promise<number>;
    /** The record of a peer. */
    get(peer: string, wait?: Wait): Promise<Record | undefined>;
}
