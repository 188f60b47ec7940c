/** Wrong types fail at the call, by name. */

function show(value: unknown): string {
  switch (typeof value) {
    case 'bigint':
      return `${value}n`
    case 'function':
      return 'a function'
    case 'symbol':
      return 'a symbol'
    case 'number':
    case 'undefined':
      return String(value)
    default:
      try {
        return (JSON.stringify(value) ?? String(value)).slice(0, 200)
      } catch {
        return 'an object'
      }
  }
}

/** An error for a value of the wrong type. */
export function wrong(field: string, value: unknown, wanted: string): TypeError {
  const error = new TypeError(`${field}: ${show(value)} is not accepted: give ${wanted}`)
  return Object.assign(error, { code: 'ERR_INVALID_ARG_TYPE' })
}

export function string(field: string, value: unknown): string {
  if (typeof value !== 'string') throw wrong(field, value, 'a string')
  return value
}

export function strings(field: string, value: unknown): string[] {
  if (typeof value === 'string') return [value]
  if (!Array.isArray(value)) throw wrong(field, value, 'a string, or an array of strings')
  return value.map((item, n) => string(`${field}[${n}]`, item))
}

export function number(field: string, value: unknown, unit = ''): number {
  if (typeof value !== 'number') throw wrong(field, value, `a number${unit}`)
  return value
}

/** Bytes; a string is those of its UTF-8. */
export function bytes(field: string, value: unknown): Uint8Array {
  if (typeof value === 'string') return new TextEncoder().encode(value)
  if (value instanceof Uint8Array) return value
  throw wrong(field, value, 'a Uint8Array, or a string')
}

/** A time span in milliseconds. */
export function ms(field: string, value: unknown): number {
  return number(field, value, ' of milliseconds')
}

/** A whole number that fits into 32 bits. */
export function whole(field: string, value: unknown): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value >= 2 ** 32) {
    throw wrong(field, value, 'a whole number from 0 up to 4294967295')
  }
  return value
}

/** A whole number that JavaScript has exactly. */
export function exact(field: string, value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw wrong(field, value, 'a whole number from 0 up to 9007199254740991')
  }
  return value
}

export function boolean(field: string, value: unknown): boolean {
  if (typeof value !== 'boolean') throw wrong(field, value, 'true or false')
  return value
}

export function callback(field: string, value: unknown): unknown {
  if (typeof value === 'function') return value
  throw wrong(field, value, 'a function')
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** An object of strings. */
export function fields(field: string, value: unknown): { [key: string]: string } {
  if (!isObject(value)) throw wrong(field, value, 'an object of strings')
  for (const [key, item] of Object.entries(value)) string(`${field}.${key}`, item)
  return value as { [key: string]: string }
}

/** An object of strings, or of null for what is to go. */
export function changedFields(field: string, value: unknown): { [key: string]: string | null } {
  if (!isObject(value)) throw wrong(field, value, 'an object of strings and nulls')
  for (const [key, item] of Object.entries(value)) {
    if (item !== null && typeof item !== 'string') throw wrong(`${field}.${key}`, item, 'a string or null')
  }
  return value as { [key: string]: string | null }
}

type Checks = { [name: string]: (field: string, value: never) => unknown }

/**
 * Checks every property of an object, and gives what the checks give. One that
 * is undefined counts as left out; one that is not known is an error.
 */
export function properties(field: string, value: unknown, checks: Checks): { [name: string]: unknown } {
  const prefix = field === '' ? '' : `${field}.`
  if (!isObject(value)) throw wrong(field || 'options', value, 'an object')
  const checked: { [name: string]: unknown } = {}
  for (const [name, item] of Object.entries(value)) {
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined
    if (!check) {
      throw wrong(`${prefix}${name}`, item, `no such option, only ${Object.keys(checks).join(', ')}`)
    }
    if (item !== undefined) checked[name] = check(`${prefix}${name}`, item as never)
  }
  return checked
}

/** The signal of a call. */
export function signal(value: unknown): AbortSignal | undefined {
  if (value === undefined) return undefined
  properties('', value, { signal: (_: string, given: unknown) => given })
  // Not among the own properties of an AbortController, which will do as well.
  const { signal } = value as { signal?: unknown }
  if (signal === undefined) return undefined
  if (!(signal instanceof AbortSignal)) throw wrong('signal', signal, 'an AbortSignal')
  return signal
}
