/** CASM's log records. */

import { callback, string } from './check.js'
import { guard } from './errors.js'
import { native, type LogRecord } from './native.js'
import { listen, open, report, unlisten } from './port.js'

export type { LogRecord }

let forwarding: number | undefined

function print({ level, target, message }: LogRecord): void {
  console.error(`${level.toUpperCase()} ${target}: ${message}`)
}

/**
 * Hands CASM's log records of this level and worse to a function, by default to
 * `console.error`. Calling it again changes level and function.
 *
 * @param level `off`, `error`, `warn`, `info`, `debug` or `trace`
 */
export function forwardLogs(level: string, sink: (record: LogRecord) => void = print): void {
  string('level', level)
  callback('sink', sink)
  const id = listen(({ logs = [] }) => {
    for (const record of logs) {
      try {
        sink(record)
      } catch (error) {
        report('a function for log records', error)
      }
    }
  })
  try {
    guard(() => native().forwardLogs(open(), id, level))
  } catch (error) {
    unlisten(id)
    throw error
  }
  if (forwarding !== undefined) unlisten(forwarding)
  forwarding = id
}
