/** CASM's log records. */
import { type LogRecord } from './native.js';
export type { LogRecord };
/**
 * Hands CASM's log records of this level and worse to a function, by default to
 * `console.error`. Calling it again changes level and function.
 *
 * @param level `off`, `error`, `warn`, `info`, `debug` or `trace`
 */
export declare function forwardLogs(level: string, sink?: (record: LogRecord) => void): void;
