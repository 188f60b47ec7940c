/** Whom to connect to. */

import { string, strings } from './check.js'
import type { PeerArguments } from './native.js'
import { AS_PEER, Record, type PeerInfo } from './record.js'

/** Whom to connect to. */
export type Peer = Record | PeerInfo | string | readonly string[]

/** @internal For the native module. */
export function peerArguments(peer: Peer): PeerArguments {
  if (peer instanceof Record) return peer[AS_PEER]()
  if (typeof peer === 'object' && peer !== null && 'id' in peer) {
    return [[string('peer.id', peer.id), ...strings('peer.addrs', peer.addrs)]]
  }
  return [strings('peer', peer)]
}
