/** A node's identity. */

import { string } from './check.js'
import { guard } from './errors.js'
import { native, type NativeKey } from './native.js'

const keys = new WeakMap<Key, NativeKey>()

/** A node's identity: an ed25519 key, or whatever a key file holds. */
export class Key {
  private constructor(key: NativeKey) {
    keys.set(this, key)
  }

  /** Makes a fresh key. */
  static generate(): Key {
    return new Key(guard(() => native().NativeKey.generate()))
  }

  /** Reads a key file. */
  static load(path: string): Key {
    string('path', path)
    return new Key(guard(() => native().NativeKey.load(path)))
  }

  /** Writes a new key file that only its owner may read. A file that exists is not overwritten. */
  save(path: string): void {
    string('path', path)
    guard(() => nativeKey(this).save(path))
  }

  /** The id of the peer that has this key. */
  get peer(): string {
    return nativeKey(this).peer
  }
}

/** @internal */
export function nativeKey(key: Key): NativeKey {
  return keys.get(key)!
}
