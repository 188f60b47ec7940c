/** What is thrown. */

import type { Fault } from './native.js'

/** The kinds of errors, the same in every language. */
export const ERROR_CODES = [
  'Config',
  'Address',
  'Bind',
  'Closed',
  'Timeout',
  'Cancelled',
  'NotFound',
  'Unreachable',
  'Protocol',
  'Invalid',
  'TooLarge',
  'Busy',
  'Io',
  'Paused',
  'Remote',
  'Internal',
] as const

/** What kind of error it is, in a form that a program can act on. */
export type ErrorCode = (typeof ERROR_CODES)[number]

/**
 * An error of CASM. Its message names what was wrong, the value, and what to
 * do. A value of the wrong type throws a `TypeError` instead.
 */
export class CasmError extends Error {
  /** What kind of error it is; it stays the same over versions. */
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.code = code
  }

  static {
    this.prototype.name = 'CasmError'
  }
}

function isCode(code: unknown): code is ErrorCode {
  return ERROR_CODES.includes(code as ErrorCode)
}

/** @internal An error that was handed over. */
export function ofFault({ code, message, cause }: Fault): CasmError {
  const known = isCode(code) ? code : 'Internal'
  return new CasmError(known, message, cause === undefined ? undefined : { cause: new Error(cause) })
}

/** @internal What a call of the native module threw, as what the caller sees. */
export function translate(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const { code } = error as NodeJS.ErrnoException
  if (isCode(code)) {
    return new CasmError(code, error.message, error.cause === undefined ? undefined : { cause: error.cause })
  }
  // A value that has no form in Rust, which no check before has found.
  return typeof code === 'string' ? Object.assign(new TypeError(error.message), { code: 'ERR_INVALID_ARG_TYPE' }) : error
}

/** @internal Runs a call that doesn't wait. */
export function guard<T>(call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw translate(error)
  }
}

/** @internal Why a signal was aborted, as an error. */
export function aborted(what: string, signal: AbortSignal): CasmError {
  const cause: unknown = signal.reason
  const timeout = cause instanceof Error && cause.name === 'TimeoutError'
  return timeout ?
      new CasmError('Timeout', `${what}: not done within the time that its signal gives`, { cause })
    : new CasmError('Cancelled', `${what} was cancelled by its signal`, { cause })
}
