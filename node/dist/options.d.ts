/** What a node is told before it starts. */
import { Key } from './key.js';
/**
 * What a node can be told before it starts. Every option can be left out: then
 * nodes of one machine, or one local network, find each other.
 */
export interface Options {
    /** The cluster to join. Default `casm`. */
    namespace?: string;
    /** Multiaddrs to listen at. Default: TCP and QUIC on every interface, at free ports. */
    listen?: string | readonly string[];
    /**
     * Where to look for peers: `auto`, `none`, or addresses such as
     * `/ip4/10.0.0.0/udp/8822/cidr/24`. Default: the environment variable
     * `CASM_BOOT`, or `auto`.
     */
    boot?: string | readonly string[];
    /** Where to answer those who look, beside what `boot` implies. */
    serve?: string | readonly string[];
    /** The name of this host, for others to read. Default: the machine's. */
    host?: string;
    /** What others may know and query of this node. */
    meta?: {
        readonly [key: string]: string;
    };
    /** Milliseconds for which others keep its record without hearing from it, 1000 to 86400000. Default 10000. */
    ttl?: number;
    /** Whether to look on only, without being in the cluster. */
    observer?: boolean;
    /** The folder in which the node keeps what is to outlast it, such as the peers it knows. */
    data?: string;
    /** The longest pause between two exchanges of peers, in milliseconds: 100 to 86400000. */
    pexTick?: number;
    /** Limits on what is spent on peers. */
    limits?: Limits;
    /** The node's identity: a key, or the file of one. Default: a fresh one. */
    key?: Key | string;
}
/** Limits on what is spent on peers. */
export interface Limits {
    /** Established connections, from 1 up. Default 512. */
    connections?: number;
    /** Established connections with one peer, from 1 up. Default 4. */
    connectionsPerPeer?: number;
    /** Connections being set up, in each direction, from 1 up. Default 128. */
    pending?: number;
    /** Fraction of the machine's memory which this process may use before new connections are refused, above 0 and up to 1. Default 0.9. */
    memory?: number;
}
