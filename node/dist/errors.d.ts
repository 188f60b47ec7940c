/** What is thrown. */
/** The kinds of errors, the same in every language. */
export declare const ERROR_CODES: readonly ["Config", "Address", "Bind", "Closed", "Timeout", "Cancelled", "NotFound", "Unreachable", "Protocol", "Invalid", "TooLarge", "Busy", "Io", "Internal"];
/** What kind of error it is, in a form that a program can act on. */
export type ErrorCode = (typeof ERROR_CODES)[number];
/**
 * An error of CASM. Its message names what was wrong, the value, and what to
 * do. A value of the wrong type throws a `TypeError` instead.
 */
export declare class CasmError extends Error {
    /** What kind of error it is; it stays the same over versions. */
    readonly code: ErrorCode;
    constructor(code: ErrorCode, message: string, options?: {
        cause?: unknown;
    });
}
