"use strict";
/** What is thrown. */
Object.defineProperty(exports, "__esModule", { value: true });
exports.CasmError = exports.ERROR_CODES = void 0;
exports.ofFault = ofFault;
exports.translate = translate;
exports.guard = guard;
exports.aborted = aborted;
/** The kinds of errors, the same in every language. */
exports.ERROR_CODES = [
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
    'Internal',
];
/**
 * An error of CASM. Its message names what was wrong, the value, and what to
 * do. A value of the wrong type throws a `TypeError` instead.
 */
class CasmError extends Error {
    /** What kind of error it is; it stays the same over versions. */
    code;
    constructor(code, message, options) {
        super(message, options);
        this.code = code;
    }
    static {
        this.prototype.name = 'CasmError';
    }
}
exports.CasmError = CasmError;
function isCode(code) {
    return exports.ERROR_CODES.includes(code);
}
/** @internal An error that was handed over. */
function ofFault({ code, message, cause }) {
    const known = isCode(code) ? code : 'Internal';
    return new CasmError(known, message, cause === undefined ? undefined : { cause: new Error(cause) });
}
/** @internal What a call of the native module threw, as what the caller sees. */
function translate(error) {
    if (!(error instanceof Error))
        return error;
    const { code } = error;
    if (isCode(code)) {
        return new CasmError(code, error.message, error.cause === undefined ? undefined : { cause: error.cause });
    }
    // A value that has no form in Rust, which no check before has found.
    return typeof code === 'string' ? Object.assign(new TypeError(error.message), { code: 'ERR_INVALID_ARG_TYPE' }) : error;
}
/** @internal Runs a call that doesn't wait. */
function guard(call) {
    try {
        return call();
    }
    catch (error) {
        throw translate(error);
    }
}
/** @internal Why a signal was aborted, as an error. */
function aborted(what, signal) {
    const cause = signal.reason;
    const timeout = cause instanceof Error && cause.name === 'TimeoutError';
    return timeout ?
        new CasmError('Timeout', `${what}: not done within the time that its signal gives`, { cause })
        : new CasmError('Cancelled', `${what} was cancelled by its signal`, { cause });
}
