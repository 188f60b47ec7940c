"use strict";
/** What to look for in a view. */
Object.defineProperty(exports, "__esModule", { value: true });
exports.spec = spec;
const check_js_1 = require("./check.js");
const FORMS = 'a string such as "meta:role=worker", or { peer }, { server }, { host } or { meta: [key, value] }';
function index(field, value) {
    if (typeof value === 'string')
        return value;
    const entries = typeof value === 'object' && value !== null ? Object.entries(value) : [];
    const [name, item] = entries[0] ?? [];
    if (entries.length !== 1)
        throw (0, check_js_1.wrong)(field, value, FORMS);
    switch (name) {
        case 'peer':
        case 'host':
            return `${name}:${(0, check_js_1.string)(`${field}.${name}`, item)}`;
        case 'server':
            if (typeof item !== 'bigint')
                throw (0, check_js_1.wrong)(`${field}.server`, item, 'a bigint');
            return `server:${BigInt.asUintN(64, item).toString(16).padStart(16, '0')}`;
        case 'meta': {
            if (!Array.isArray(item) || item.length < 1 || item.length > 2) {
                throw (0, check_js_1.wrong)(`${field}.meta`, item, 'an array of a key and a value');
            }
            return `meta:${item.map((part, n) => (0, check_js_1.string)(`${field}.meta[${n}]`, part)).join('=')}`;
        }
        default:
            throw (0, check_js_1.wrong)(field, value, FORMS);
    }
}
const CHECKS = { match: index, prefix: check_js_1.boolean, from: index, to: index, limit: check_js_1.whole, reverse: check_js_1.boolean };
/** @internal */
function spec(query) {
    if (query === undefined)
        return {};
    if (typeof query === 'string')
        return { matching: query };
    const { match, ...rest } = (0, check_js_1.properties)('query', query, CHECKS);
    return match === undefined ? rest : { matching: match, ...rest };
}
