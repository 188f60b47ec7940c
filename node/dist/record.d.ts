/** What a peer says of itself, and what happens to a node. */
/** What a peer last said of itself. */
export declare class Record {
    #private;
    /** The peer's id. */
    get peer(): string;
    /** The number of the peer's instance. */
    get server(): bigint;
    /** The sequence number: the higher one counts. */
    get seq(): bigint;
    /** Milliseconds for which the record is kept without a newer one. */
    get ttl(): number;
    /** The name of the peer's host, as it says. */
    get host(): string;
    /** What the peer says of itself. */
    get meta(): {
        readonly [key: string]: string;
    };
    /** The record as on the command line: numbers that JSON has no room for are strings. */
    toJSON(): object;
}
/** A peer, and the addresses at which it can be reached. */
export interface PeerInfo {
    /** The peer's id. */
    id: string;
    /** Its multiaddrs. */
    addrs: string[];
}
/** A peer that a search found. */
export interface Found {
    /** The boot address that led to it. */
    source: string;
    /** The peer. */
    peer: PeerInfo;
}
/** What happens to a node, by name: what a listener is called with. */
export interface Events {
    /** The node listens at these addresses. Comes again when they change. */
    listening: {
        peer: string;
        addrs: string[];
    };
    /** A peer came into the view. */
    'peer:joined': Record;
    /** A peer says something new of itself. */
    'peer:updated': Record;
    /** A peer is no longer in the view: it said goodbye, or was not heard of. */
    'peer:left': {
        peer: string;
        reason: 'left' | 'expired';
    };
    /** Discovery found a peer. */
    'peers:found': Found;
    /** The peer-exchange view holds other peers than before. */
    'view:changed': {
        peers: string[];
    };
    /** The first connection to a peer was made. */
    connected: {
        peer: string;
    };
    /** The last connection to a peer was closed. */
    disconnected: {
        peer: string;
    };
    /** The listener was too slow: the oldest events were dropped. */
    dropped: {
        count: number;
    };
}
/** The names of the events. */
export type EventName = keyof Events;
/** Something that happened to a node: `type` is its name. */
export type Event = {
    [Name in EventName]: {
        type: Name;
    } & (Events[Name] extends Record ? {
        record: Record;
    } : Events[Name]);
}[EventName];
/** What happened to the records that a query finds. */
export type Change = 
/** `current`: it was there when the query began, or after a gap. */
{
    kind: 'current' | 'joined' | 'updated' | 'left';
    record: Record;
    count?: undefined;
}
/** So many changes were lost; what is found now comes again as `current`. */
 | {
    kind: 'dropped';
    record?: undefined;
    count: number;
};
