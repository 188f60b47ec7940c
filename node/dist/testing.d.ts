/**
 * Clusters for tests: on the loopback interface only, with no discovery, so that
 * tests neither disturb each other nor anyone else.
 */
import { Node } from './node.js';
import type { Options } from './options.js';
/**
 * The options of a node that listens on the loopback interface only, looks for
 * nobody, and is in a namespace of its own; with those that are given.
 */
export declare function options(given?: Options): Options;
/** Nodes that see each other, closed at the end of an `await using`. */
export declare class Cluster extends Array<Node> {
    [Symbol.asyncDispose](): Promise<void>;
}
/** A cluster of `n` nodes that see each other, with these options for every node. */
export declare function cluster(n: number, given?: Options, signal?: AbortSignal): Promise<Cluster>;
