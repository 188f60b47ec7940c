/** What to look for in a view. */
/**
 * A value of a field: as a string, `peer:ID`, `server:HEX`, `host:NAME` or
 * `meta:KEY=VALUE`, or as an object.
 */
export type Index = string | {
    peer: string;
} | {
    server: bigint;
} | {
    host: string;
} | {
    meta: readonly [key: string, value?: string];
};
/** What to look for: where to begin, which way to go, and where to end. */
export interface Query {
    /** The value to match; not with `from`. */
    match?: Index;
    /** Whether values that begin like the one to match are found too. */
    prefix?: boolean;
    /** The value to begin at. */
    from?: Index;
    /** The last value. */
    to?: Index;
    /** The most records. */
    limit?: number;
    /** From higher values to lower ones. */
    reverse?: boolean;
}
