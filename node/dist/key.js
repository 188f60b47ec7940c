"use strict";
/** A node's identity. */
Object.defineProperty(exports, "__esModule", { value: true });
exports.Key = void 0;
exports.nativeKey = nativeKey;
const check_js_1 = require("./check.js");
const errors_js_1 = require("./errors.js");
const native_js_1 = require("./native.js");
const keys = new WeakMap();
/** A node's identity: an ed25519 key, or whatever a key file holds. */
class Key {
    constructor(key) {
        keys.set(this, key);
    }
    /** Makes a fresh key. */
    static generate() {
        return new Key((0, errors_js_1.guard)(() => native_js_1.native.NativeKey.generate()));
    }
    /** Reads a key file. */
    static load(path) {
        (0, check_js_1.string)('path', path);
        return new Key((0, errors_js_1.guard)(() => native_js_1.native.NativeKey.load(path)));
    }
    /** Writes a new key file that only its owner may read. A file that exists is not overwritten. */
    save(path) {
        (0, check_js_1.string)('path', path);
        (0, errors_js_1.guard)(() => nativeKey(this).save(path));
    }
    /** The id of the peer that has this key. */
    get peer() {
        return nativeKey(this).peer;
    }
}
exports.Key = Key;
/** @internal */
function nativeKey(key) {
    return keys.get(key);
}
