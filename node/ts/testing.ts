/**
 * Clusters for tests: on the loopback interface only, with no discovery, so that
 * tests neither disturb each other nor anyone else.
 */

import { randomUUID } from 'node:crypto'
// The built package has one file for all but this.
import { Node, type Options } from './index.js'

/**
 * The options of a node that listens on the loopback interface only, looks for
 * nobody, and is in a namespace of its own; with those that are given.
 */
export function options(given: Options = {}): Options {
  return { namespace: `test-${randomUUID()}`, listen: '/ip4/127.0.0.1/tcp/0', boot: 'none', ...given }
}

/** Nodes that see each other, closed at the end of an `await using`. */
export class Cluster extends Array<Node> {
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this].map(node => node.close()))
  }
}

/** A cluster of `n` nodes that see each other, with these options for every node. */
export async function cluster(n: number, given: Options = {}, signal = AbortSignal.timeout(60_000)): Promise<Cluster> {
  if (!Number.isInteger(n) || n < 1) throw new RangeError(`n: ${n} is not accepted: a cluster has 1 node or more`)
  const config = options(given)
  const nodes = new Cluster()
  try {
    for (let started = 0; started < n; started++) nodes.push(await Node.start(config, { signal }))
    const [first, ...others] = nodes
    const info = first!.info()
    await Promise.all(others.map(node => node.connect(info, { signal })))
    await Promise.all([...nodes].map(node => node.waitFor(n, { signal })))
  } catch (error) {
    await nodes[Symbol.asyncDispose]()
    throw error
  }
  return nodes
}
