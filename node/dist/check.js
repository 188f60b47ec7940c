"use strict";
/** Wrong types fail at the call, by name. */
Object.defineProperty(exports, "__esModule", { value: true });
exports.wrong = wrong;
exports.string = string;
exports.strings = strings;
exports.number = number;
exports.ms = ms;
exports.whole = whole;
exports.boolean = boolean;
exports.callback = callback;
exports.fields = fields;
exports.properties = properties;
exports.signal = signal;
function show(value) {
    switch (typeof value) {
        case 'bigint':
            return `${value}n`;
        case 'function':
            return 'a function';
        case 'symbol':
            return 'a symbol';
        case 'number':
        case 'undefined':
            return String(value);
        default:
            try {
                return (JSON.stringify(value) ?? String(value)).slice(0, 200);
            }
            catch {
                return 'an object';
            }
    }
}
/** An error for a value of the wrong type. */
function wrong(field, value, wanted) {
    const error = new TypeError(`${field}: ${show(value)} is not accepted: give ${wanted}`);
    return Object.assign(error, { code: 'ERR_INVALID_ARG_TYPE' });
}
function string(field, value) {
    if (typeof value !== 'string')
        throw wrong(field, value, 'a string');
    return value;
}
function strings(field, value) {
    if (typeof value === 'string')
        return [value];
    if (!Array.isArray(value))
        throw wrong(field, value, 'a string, or an array of strings');
    return value.map((item, n) => string(`${field}[${n}]`, item));
}
function number(field, value, unit = '') {
    if (typeof value !== 'number')
        throw wrong(field, value, `a number${unit}`);
    return value;
}
/** A time span in milliseconds. */
function ms(field, value) {
    return number(field, value, ' of milliseconds');
}
/** A whole number that fits into 32 bits. */
function whole(field, value) {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value >= 2 ** 32) {
        throw wrong(field, value, 'a whole number from 0 up to 4294967295');
    }
    return value;
}
function boolean(field, value) {
    if (typeof value !== 'boolean')
        throw wrong(field, value, 'true or false');
    return value;
}
function callback(field, value) {
    if (typeof value !== 'function')
        throw wrong(field, value, 'a function');
}
function isObject(value) {
    return typeof value === 'object' && value !== null && !Array.isArray(value);
}
/** An object of strings. */
function fields(field, value) {
    if (!isObject(value))
        throw wrong(field, value, 'an object of strings');
    for (const [key, item] of Object.entries(value))
        string(`${field}.${key}`, item);
    return value;
}
/**
 * Checks every property of an object, and gives what the checks give. One that
 * is undefined counts as left out; one that is not known is an error.
 */
function properties(field, value, checks) {
    const prefix = field === '' ? '' : `${field}.`;
    if (!isObject(value))
        throw wrong(field || 'options', value, 'an object');
    const checked = {};
    for (const [name, item] of Object.entries(value)) {
        const check = Object.hasOwn(checks, name) ? checks[name] : undefined;
        if (!check) {
            throw wrong(`${prefix}${name}`, item, `no such option, only ${Object.keys(checks).join(', ')}`);
        }
        if (item !== undefined)
            checked[name] = check(`${prefix}${name}`, item);
    }
    return checked;
}
/** The signal of a call. */
function signal(value) {
    if (value === undefined)
        return undefined;
    const { signal } = properties('', value, { signal: (_, given) => given });
    if (signal === undefined)
        return undefined;
    if (!(signal instanceof AbortSignal))
        throw wrong('signal', signal, 'an AbortSignal');
    return signal;
}
