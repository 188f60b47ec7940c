/** Records that came together, and their text, which is fetched for many at once. */

import type { Records, Text } from './native.js'

/** What a peer says of itself. */
export interface Meta {
  readonly [key: string]: string
}

/** So many records' text is fetched together. A string of it that is kept keeps all of it: some 20 KB. */
const TOGETHER = 128

/** How many numbers of a text's spans are about each record. */
const HEAD = 4

interface Fetched extends Text {
  /** What several say of themselves alike, by its place in the spans. */
  metas: Map<number, Meta>
}

export class Batch {
  readonly records: Records
  readonly #fetched: Fetched[] = []

  constructor(records: Records) {
    this.records = records
  }

  peer(n: number): string {
    const { text, spans } = this.#text(n)
    const at = (n % TOGETHER) * HEAD
    return text.slice(spans[at], spans[at + 1])
  }

  host(n: number): string {
    const { text, spans } = this.#text(n)
    const at = (n % TOGETHER) * HEAD
    return text.slice(spans[at + 1], spans[at + 2])
  }

  /** An object of the caller's own. */
  meta(n: number): Meta {
    const { text, spans, metas } = this.#text(n)
    const at = spans[(n % TOGETHER) * HEAD + 3]!
    let meta = metas.get(at)
    if (!meta) metas.set(at, (meta = pairs(text, spans, at)))
    return { ...meta }
  }

  #text(n: number): Fetched {
    const nth = Math.floor(n / TOGETHER)
    return (this.#fetched[nth] ??= { ...this.records.text(nth * TOGETHER, TOGETHER), metas: new Map() })
  }
}

/** An object of keys and values; `__proto__` is a key like any other. */
function pairs(text: string, spans: Uint32Array, at: number): Meta {
  const entries: [string, string][] = []
  let start = spans[at + 1]!
  for (let n = 0; n < spans[at]!; n++) {
    const [key, value] = [spans[at + 2 + n * 2]!, spans[at + 3 + n * 2]!]
    entries.push([text.slice(start, key), text.slice(key, value)])
    start = value
  }
  return Object.fromEntries(entries)
}
