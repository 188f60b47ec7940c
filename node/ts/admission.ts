/** Whom a node takes. */

import { wrong } from './check.js'
import { guard } from './errors.js'
import type { NativeNode } from './native.js'
import { bytes } from './service.js'

const nodes = new WeakMap<Admission, NativeNode>()

/** @internal */
export function nativeNode(node: Admission): NativeNode {
  return nodes.get(node)!
}

/** What a node has of calls that say whom it takes. None of them waits. */
export abstract class Admission {
  /** @internal */
  constructor(node: NativeNode) {
    nodes.set(this, node)
  }

  /**
   * Takes these peers too. With the first one there is an allow list, and who is not
   * on it gets no connection and no answer, and is in no view. This node itself is
   * always taken. `ids` is a peer id, or several; here and below.
   */
  allow(ids: string | Iterable<string>): void {
    const given = peerIds('ids', ids)
    guard(() => nativeNode(this).allow(given))
  }

  /**
   * Takes peers off the allow list. When the last one has gone, nobody is taken:
   * `allowAll` takes everybody. Without an allow list it does nothing.
   */
  disallow(ids: string | Iterable<string>): void {
    const given = peerIds('ids', ids)
    guard(() => nativeNode(this).disallow(given))
  }

  /** Does without an allow list: everybody is taken who is not denied. */
  allowAll(): void {
    guard(() => nativeNode(this).allowAll())
  }

  /** Puts these in the place of the allow list, in one step: none of them means that nobody is taken. */
  setAllowed(ids: string | Iterable<string>): void {
    const given = peerIds('ids', ids)
    guard(() => nativeNode(this).setAllowed(given))
  }

  /**
   * Doesn't take these peers any more, whether they are allowed or not: their
   * connections are closed, and they leave the view, with the reason `left`.
   */
  deny(ids: string | Iterable<string>): void {
    const given = peerIds('ids', ids)
    guard(() => nativeNode(this).deny(given))
  }

  /** Takes peers off the deny list. They come back by themselves. */
  undeny(ids: string | Iterable<string>): void {
    const given = peerIds('ids', ids)
    guard(() => nativeNode(this).undeny(given))
  }

  /** Puts these in the place of the deny list, in one step. */
  setDenied(ids: string | Iterable<string>): void {
    const given = peerIds('ids', ids)
    guard(() => nativeNode(this).setDenied(given))
  }

  /** The allow list, in the order of the ids; `undefined` if there is none and everybody is taken. */
  allowed(): string[] | undefined {
    return guard(() => nativeNode(this).allowed()) ?? undefined
  }

  /** The deny list, in the order of the ids. */
  denied(): string[] {
    return guard(() => nativeNode(this).denied())
  }

  /**
   * Puts another certificate, as its file has it, in the place of this node's, before
   * that one ends. Connections go on.
   */
  renew(certificate: Uint8Array): void {
    const given = bytes('certificate', certificate)
    guard(() => nativeNode(this).renew(given))
  }

  /**
   * Puts out those whose certificates these revocations, as a file has them, take back:
   * here and wherever members are. Gives how many were new here.
   */
  revoke(revocations: Uint8Array): number {
    const given = bytes('revocations', revocations)
    return guard(() => nativeNode(this).revoke(given))
  }
}

/** @internal One peer id, or several. */
export function peerIds(field: string, value: unknown): string[] {
  if (typeof value === 'string') return [value]
  const wanted = 'peer ids, which are strings'
  if (typeof value !== 'object' || value === null || !(Symbol.iterator in value)) throw wrong(field, value, wanted)
  return Array.from(value as Iterable<unknown>, (id, n) => {
    if (typeof id !== 'string') throw wrong(`${field}[${n}]`, id, 'a peer id, which is a string')
    return id
  })
}
