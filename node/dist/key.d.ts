/** A node's identity. */
/** A node's identity: an ed25519 key, or whatever a key file holds. */
export declare class Key {
    private constructor();
    /** Makes a fresh key. */
    static generate(): Key;
    /** Reads a key file. */
    static load(path: string): Key;
    /** Writes a new key file that only its owner may read. A file that exists is not overwritten. */
    save(path: string): void;
    /** The id of the peer that has this key. */
    get peer(): string;
}
