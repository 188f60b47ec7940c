"use strict";
/** The native module: what it has, and where it is found. */
Object.defineProperty(exports, "__esModule", { value: true });
exports.native = void 0;
/** Where the module may be: beside this package, or in one for this platform. */
function candidates() {
    const name = `casm-p2p-${process.platform}-${process.arch}`;
    const packages = process.platform === 'linux' ? [`${name}-gnu`, `${name}-musl`]
        : process.platform === 'win32' ? [`${name}-msvc`]
            : [name];
    return ['../casm.node', ...packages];
}
function load() {
    const tried = [];
    for (const candidate of candidates()) {
        try {
            return require(candidate);
        }
        catch (error) {
            const missing = error.code === 'MODULE_NOT_FOUND';
            tried.push(`${candidate}: ${missing ? 'not there' : error.message}`);
        }
    }
    throw new Error(`casm-p2p: no native module works on ${process.platform} ${process.arch} ` +
        `(${tried.join('; ')}). Install again without --no-optional or --omit=optional, ` +
        'on the platform on which the program is to run.');
}
exports.native = load();
