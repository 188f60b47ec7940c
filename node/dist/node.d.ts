/** The node. */
import { type Options } from './options.js';
import { type Query } from './query.js';
import { type Change, type Event, type EventName, type Events, type Found, type PeerInfo } from './record.js';
import { Stream, Subscription, type Wait } from './stream.js';
import { RemoteView, View } from './view.js';
/** What a search for peers is limited by, and of which cluster they are to be. */
export interface FindOptions extends Wait {
    /** The cluster to look for. Default: the node's own. */
    namespace?: string;
    /** The most peers. */
    limit?: number;
    /** How long to look, in milliseconds. */
    timeout?: number;
}
/**
 * A member of a cluster, or an observer of one.
 *
 * It is closed by `close()`, at the end of an `await using`, and when the
 * program or its worker ends. After that its calls throw a `CasmError` whose
 * code is `Closed`.
 *
 * A call or a `for await` that waits keeps the program alive; an open node and
 * its listeners do not, unless `ref()` says so.
 */
export declare class Node {
    #private;
    private constructor();
    /** Starts a node. */
    static start(options?: Options, wait?: Wait): Promise<Node>;
    /** The node's peer id. Also of a closed node. */
    get id(): string;
    /** The cluster's name. Also of a closed node. */
    get namespace(): string;
    /** Whether the node is closed. */
    get closed(): boolean;
    /** The multiaddrs at which it can be reached, each with its `/p2p/<id>`. */
    addrs(): string[];
    /** Its id and its addresses, for another node's `connect`. */
    info(): PeerInfo;
    /** The cluster as this node sees it now. */
    view(): View;
    /** The ids of the peers that are connected now. */
    connected(): string[];
    /** The node's counters, in the OpenMetrics text format. */
    metrics(): string;
    /** The values of the node's counters now, each by its name and labels as in the text. */
    metricsSnapshot(): {
        [name: string]: number;
    };
    /** Waits until the view holds `n` records, the own one among them, and gives it. */
    waitFor(n: number, wait?: Wait): Promise<View>;
    /** The view of a connected peer, as it is there. */
    viewOf(peer: string, wait?: Wait): Promise<RemoteView>;
    /**
     * Connects to a peer, and gives its id. The peer is a `PeerInfo`, multiaddrs
     * that end in `/p2p/<id>`, or one multiaddr of whoever answers there.
     */
    connect(peer: PeerInfo | string | readonly string[], wait?: Wait): Promise<string>;
    /** Lets others find this node under another namespace too, for `ttl` milliseconds. */
    advertise(namespace: string, ttl: number, wait?: Wait): Promise<void>;
    /** Changes what others may know of this node, and tells them. */
    setMeta(meta: {
        readonly [key: string]: string;
    }, wait?: Wait): Promise<void>;
    /** Changes the host name that others read, and tells them. */
    setHost(host: string, wait?: Wait): Promise<void>;
    /** Changes for how many milliseconds others keep this node's record, and tells them. */
    setTtl(ttl: number, wait?: Wait): Promise<void>;
    /** What happens from now on, to iterate over. */
    events(wait?: Wait): Stream<Event>;
    /** Follows a query: what it finds now, then every change to that, to iterate over. */
    subscribe(query?: Query | string, wait?: Wait): Stream<Change>;
    /**
     * Looks for peers where the boot addresses say, to iterate over. Ends after
     * `limit` peers or `timeout` milliseconds; without either, when it is
     * cancelled.
     */
    findPeers(options?: FindOptions): Stream<Found>;
    /**
     * Calls a listener with every event of this name from now on, or with every
     * `event`. What it throws is logged and counted, and it is called with the
     * next all the same.
     */
    on<Name extends EventName>(name: Name, listener: (payload: Events[Name]) => unknown): Subscription;
    on(name: 'event', listener: (event: Event) => unknown): Subscription;
    /** Calls a listener of this name no more. */
    off<Name extends EventName>(name: Name, listener: (payload: Events[Name]) => unknown): void;
    off(name: 'event', listener: (event: Event) => unknown): void;
    /** Calls a listener with what a query finds now, and with every change to that. */
    watch(query: Query | string | undefined, listener: (change: Change) => unknown): Subscription;
    /** Keeps the program alive until the node is closed. */
    ref(): this;
    /** Lets the program end, though calls of this node wait. */
    unref(): this;
    /**
     * Leaves the cluster, so that others see it at once, and waits until nothing
     * of the node is running. A second call does nothing.
     */
    close(wait?: Wait): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}
