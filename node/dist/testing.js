"use strict";
/**
 * Clusters for tests: on the loopback interface only, with no discovery, so that
 * tests neither disturb each other nor anyone else.
 */
Object.defineProperty(exports, "__esModule", { value: true });
exports.Cluster = void 0;
exports.options = options;
exports.cluster = cluster;
const node_crypto_1 = require("node:crypto");
const node_js_1 = require("./node.js");
/**
 * The options of a node that listens on the loopback interface only, looks for
 * nobody, and is in a namespace of its own; with those that are given.
 */
function options(given = {}) {
    return { namespace: `test-${(0, node_crypto_1.randomUUID)()}`, listen: '/ip4/127.0.0.1/tcp/0', boot: 'none', ...given };
}
/** Nodes that see each other, closed at the end of an `await using`. */
class Cluster extends Array {
    async [Symbol.asyncDispose]() {
        await Promise.all([...this].map(node => node.close()));
    }
}
exports.Cluster = Cluster;
/** A cluster of `n` nodes that see each other, with these options for every node. */
async function cluster(n, given = {}, signal = AbortSignal.timeout(60_000)) {
    if (!Number.isInteger(n) || n < 1)
        throw new RangeError(`n: ${n} is not accepted: a cluster has 1 node or more`);
    const config = options(given);
    const nodes = new Cluster();
    try {
        for (let started = 0; started < n; started++)
            nodes.push(await node_js_1.Node.start(config, { signal }));
        const [first, ...others] = nodes;
        const info = first.info();
        await Promise.all(others.map(node => node.connect(info, { signal })));
        await Promise.all([...nodes].map(node => node.waitFor(n, { signal })));
    }
    catch (error) {
        await nodes[Symbol.asyncDispose]();
        throw error;
    }
    return nodes;
}
