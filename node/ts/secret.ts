/** The secret of a private cluster. */

import { string } from './check.js'
import { guard } from './errors.js'
import { native, type NativeSecret } from './native.js'

const secrets = new WeakMap<Secret, NativeSecret>()

/** The pre-shared key of a private cluster, which nothing prints. */
export class Secret {
  private constructor(secret: NativeSecret) {
    secrets.set(this, secret)
  }

  /** Makes a new secret. */
  static generate(): Secret {
    return new Secret(guard(() => native().NativeSecret.generate()))
  }

  /** Reads what a `swarm.key` file holds, in base16, base64 or bin. */
  static parse(file: Uint8Array): Secret {
    if (!(file instanceof Uint8Array)) throw hidden('file', 'a Uint8Array')
    return new Secret(guard(() => native().NativeSecret.parse(file)))
  }

  /** Reads a `swarm.key` file. */
  static load(path: string): Secret {
    if (typeof path !== 'string') throw hidden('path', 'a string')
    return new Secret(guard(() => native().NativeSecret.load(path)))
  }

  /** Writes a new `swarm.key` file that only its owner may read. A file that exists is not overwritten. */
  save(path: string): void {
    string('path', path)
    guard(() => nativeSecret(this).save(path))
  }

  /** 32 hex digits that tell secrets apart, and say nothing of them. */
  get fingerprint(): string {
    return nativeSecret(this).fingerprint
  }
}

/** @internal An error that doesn't show what was given, which may be a secret. */
export function hidden(field: string, wanted: string): TypeError {
  const error = new TypeError(`${field}: what was given is not accepted: give ${wanted}`)
  return Object.assign(error, { code: 'ERR_INVALID_ARG_TYPE' })
}

/** @internal */
export function nativeSecret(secret: Secret): NativeSecret {
  return secrets.get(secret)!
}
