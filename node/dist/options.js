"use strict";
/** What a node is told before it starts. */
Object.defineProperty(exports, "__esModule", { value: true });
exports.OPTION_NAMES = void 0;
exports.build = build;
const check_js_1 = require("./check.js");
const key_js_1 = require("./key.js");
const LIMITS = { connections: check_js_1.whole, connectionsPerPeer: check_js_1.whole, pending: check_js_1.whole, memory: check_js_1.number };
const OPTIONS = {
    namespace: check_js_1.string,
    listen: check_js_1.strings,
    boot: check_js_1.strings,
    serve: check_js_1.strings,
    host: check_js_1.string,
    meta: check_js_1.fields,
    ttl: check_js_1.ms,
    observer: check_js_1.boolean,
    data: check_js_1.string,
    pexTick: check_js_1.ms,
    limits: (field, value) => (0, check_js_1.properties)(field, value, LIMITS),
    key: (field, value) => {
        if (value instanceof key_js_1.Key || typeof value === 'string')
            return value;
        throw (0, check_js_1.wrong)(field, value, 'a Key, or the path of a key file');
    },
};
/** @internal The names of all options. */
exports.OPTION_NAMES = { node: Object.keys(OPTIONS), limits: Object.keys(LIMITS) };
/** @internal */
function build(options) {
    const { key, ...rest } = (0, check_js_1.properties)('', options, OPTIONS);
    if (key instanceof key_js_1.Key)
        return { options: rest, key: (0, key_js_1.nativeKey)(key) };
    return { options: key === undefined ? rest : { ...rest, keyFile: key }, key: undefined };
}
