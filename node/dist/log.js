"use strict";
/** CASM's log records. */
Object.defineProperty(exports, "__esModule", { value: true });
exports.forwardLogs = forwardLogs;
const check_js_1 = require("./check.js");
const errors_js_1 = require("./errors.js");
const native_js_1 = require("./native.js");
const port_js_1 = require("./port.js");
let forwarding;
function print({ level, target, message }) {
    console.error(`${level.toUpperCase()} ${target}: ${message}`);
}
/**
 * Hands CASM's log records of this level and worse to a function, by default to
 * `console.error`. Calling it again changes level and function.
 *
 * @param level `off`, `error`, `warn`, `info`, `debug` or `trace`
 */
function forwardLogs(level, sink = print) {
    (0, check_js_1.string)('level', level);
    (0, check_js_1.callback)('sink', sink);
    const id = (0, port_js_1.listen)(({ logs = [] }) => {
        for (const record of logs) {
            try {
                sink(record);
            }
            catch (error) {
                (0, port_js_1.report)('a function for log records', error);
            }
        }
    });
    try {
        (0, errors_js_1.guard)(() => native_js_1.native.forwardLogs((0, port_js_1.open)(), id, level));
    }
    catch (error) {
        (0, port_js_1.unlisten)(id);
        throw error;
    }
    if (forwarding !== undefined)
        (0, port_js_1.unlisten)(forwarding);
    forwarding = id;
}
