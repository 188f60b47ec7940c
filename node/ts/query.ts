/** What to look for in a view. */

import { boolean, properties, string, whole, wrong } from './check.js'
import type { QuerySpec } from './native.js'

/**
 * A value of a field: as a string, `peer:ID`, `server:HEX`, `host:NAME`,
 * `meta:KEY=VALUE` or `role:ROLE`, or as an object.
 */
export type Index =
  | string
  | { peer: string }
  | { server: bigint }
  | { host: string }
  | { meta: readonly [key: string, value?: string] }
  | { role: string }

/** What is to be matched: a value of a field, or the name of a service, also written `service:NAME`. */
export type Match = Index | { service: string }

/** What to look for: where to begin, which way to go, and where to end. */
export interface Query {
  /** The value to match; not with `from`. */
  match?: Match
  /** Whether values that begin like the one to match are found too. */
  prefix?: boolean
  /** The value to begin at. */
  from?: Index
  /** The last value. */
  to?: Index
  /** The most records. */
  limit?: number
  /** From higher values to lower ones. */
  reverse?: boolean
}

const FORMS = 'a string such as "meta:role=worker", or { peer }, { server }, { host }, { meta: [key, value] } or { role }, or to match { service }'

function index(field: string, value: unknown): string {
  if (typeof value === 'string') return value
  const entries = typeof value === 'object' && value !== null ? Object.entries(value) : []
  const [name, item] = entries[0] ?? []
  if (entries.length !== 1) throw wrong(field, value, FORMS)
  switch (name) {
    case 'peer':
    case 'service':
    case 'host':
    case 'role':
      return `${name}:${string(`${field}.${name}`, item)}`
    case 'server':
      if (typeof item !== 'bigint') throw wrong(`${field}.server`, item, 'a bigint')
      return `server:${BigInt.asUintN(64, item).toString(16).padStart(16, '0')}`
    case 'meta': {
      if (!Array.isArray(item) || item.length < 1 || item.length > 2) {
        throw wrong(`${field}.meta`, item, 'an array of a key and a value')
      }
      return `meta:${item.map((part, n) => string(`${field}.meta[${n}]`, part)).join('=')}`
    }
    default:
      throw wrong(field, value, FORMS)
  }
}

const CHECKS = { match: index, prefix: boolean, from: index, to: index, limit: whole, reverse: boolean }

/** @internal */
export function spec(query: Query | string | undefined): QuerySpec {
  if (query === undefined) return {}
  if (typeof query === 'string') return { matching: query }
  const { match, ...rest } = properties('query', query, CHECKS)
  return match === undefined ? rest : { matching: match as string, ...rest }
}
