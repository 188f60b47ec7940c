"use strict";
/** The node. */
Object.defineProperty(exports, "__esModule", { value: true });
exports.Node = void 0;
exports.benchEvents = benchEvents;
exports.benchView = benchView;
const check_js_1 = require("./check.js");
const errors_js_1 = require("./errors.js");
const native_js_1 = require("./native.js");
const options_js_1 = require("./options.js");
const port_js_1 = require("./port.js");
const query_js_1 = require("./query.js");
const record_js_1 = require("./record.js");
const stream_js_1 = require("./stream.js");
const view_js_1 = require("./view.js");
const nodes = new WeakMap();
/** Nodes that are open: they are not collected, whoever forgets them. */
const running = new Set();
/**
 * A member of a cluster, or an observer of one.
 *
 * It is closed by `close()`, at the end of an `await using`, and when the
 * program or its worker ends. After that its calls throw a `CasmError` whose
 * code is `Closed`.
 *
 * A call or a `for await` that waits keeps the program alive; an open node and
 * its listeners do not, unless `ref()` says so.
 */
class Node {
    #holder;
    #listening = new Set();
    constructor(node, holder) {
        this.#holder = holder;
        nodes.set(this, node);
        running.add(this);
    }
    /** Starts a node. */
    static async start(options = {}, wait) {
        const { options: checked, key } = (0, options_js_1.build)(options);
        const holder = new port_js_1.Holder();
        const start = (id) => native_js_1.native.NativeNode.start((0, port_js_1.open)(), id, checked, key);
        return (0, port_js_1.call)('starting a node', holder, start, work => new Node(work.node, holder), (0, check_js_1.signal)(wait));
    }
    get #node() {
        return nodes.get(this);
    }
    /** The node's peer id. Also of a closed node. */
    get id() {
        return this.#node.id;
    }
    /** The cluster's name. Also of a closed node. */
    get namespace() {
        return this.#node.namespace;
    }
    /** Whether the node is closed. */
    get closed() {
        return this.#node.closed;
    }
    /** The multiaddrs at which it can be reached, each with its `/p2p/<id>`. */
    addrs() {
        return (0, errors_js_1.guard)(() => this.#node.addrs());
    }
    /** Its id and its addresses, for another node's `connect`. */
    info() {
        return (0, errors_js_1.guard)(() => this.#node.info());
    }
    /** The cluster as this node sees it now. */
    view() {
        return new view_js_1.View((0, errors_js_1.guard)(() => this.#node.view()));
    }
    /** The ids of the peers that are connected now. */
    connected() {
        return (0, errors_js_1.guard)(() => this.#node.connected());
    }
    /** The node's counters, in the OpenMetrics text format. */
    metrics() {
        return (0, errors_js_1.guard)(() => this.#node.metrics());
    }
    /** The values of the node's counters now, each by its name and labels as in the text. */
    metricsSnapshot() {
        return (0, errors_js_1.guard)(() => this.#node.metricsSnapshot());
    }
    /** Waits until the view holds `n` records, the own one among them, and gives it. */
    async waitFor(n, wait) {
        (0, check_js_1.whole)('n', n);
        return this.#call('waitFor', id => this.#node.waitFor(id, n), work => new view_js_1.View(work.view), wait);
    }
    /** The view of a connected peer, as it is there. */
    async viewOf(peer, wait) {
        (0, check_js_1.string)('peer', peer);
        const remote = (work) => new view_js_1.RemoteView(work.remote, this.#holder);
        return this.#call('viewOf', id => this.#node.viewOf(id, peer), remote, wait);
    }
    /**
     * Connects to a peer, and gives its id. The peer is a `PeerInfo`, multiaddrs
     * that end in `/p2p/<id>`, or one multiaddr of whoever answers there.
     */
    async connect(peer, wait) {
        const addrs = typeof peer === 'object' && peer !== null && 'id' in peer ?
            [(0, check_js_1.string)('peer.id', peer.id), ...(0, check_js_1.strings)('peer.addrs', peer.addrs)]
            : (0, check_js_1.strings)('peer', peer);
        return this.#call('connect', id => this.#node.connect(id, addrs), work => work.text, wait);
    }
    /** Lets others find this node under another namespace too, for `ttl` milliseconds. */
    async advertise(namespace, ttl, wait) {
        (0, check_js_1.string)('namespace', namespace);
        (0, check_js_1.ms)('ttl', ttl);
        return this.#call('advertise', id => this.#node.advertise(id, namespace, ttl), () => { }, wait);
    }
    /** Changes what others may know of this node, and tells them. */
    async setMeta(meta, wait) {
        const checked = (0, check_js_1.fields)('meta', meta);
        return this.#call('setMeta', id => this.#node.setMeta(id, checked), () => { }, wait);
    }
    /** Changes the host name that others read, and tells them. */
    async setHost(host, wait) {
        (0, check_js_1.string)('host', host);
        return this.#call('setHost', id => this.#node.setHost(id, host), () => { }, wait);
    }
    /** Changes for how many milliseconds others keep this node's record, and tells them. */
    async setTtl(ttl, wait) {
        (0, check_js_1.ms)('ttl', ttl);
        return this.#call('setTtl', id => this.#node.setTtl(id, ttl), () => { }, wait);
    }
    /** What happens from now on, to iterate over. */
    events(wait) {
        const given = (0, check_js_1.signal)(wait);
        return new stream_js_1.Stream((0, errors_js_1.guard)(() => this.#node.events()), this.#holder, record_js_1.event, given);
    }
    /** Follows a query: what it finds now, then every change to that, to iterate over. */
    subscribe(query, wait) {
        const asked = (0, query_js_1.spec)(query);
        const given = (0, check_js_1.signal)(wait);
        return new stream_js_1.Stream((0, errors_js_1.guard)(() => this.#node.subscribe(asked)), this.#holder, record_js_1.change, given);
    }
    /**
     * Looks for peers where the boot addresses say, to iterate over. Ends after
     * `limit` peers or `timeout` milliseconds; without either, when it is
     * cancelled.
     */
    findPeers(options = {}) {
        const { signal: given, ...rest } = options;
        const { namespace, limit, timeout } = (0, check_js_1.properties)('', rest, FIND);
        const found = (0, errors_js_1.guard)(() => this.#node.findPeers(namespace, limit, timeout));
        return new stream_js_1.Stream(found, this.#holder, record_js_1.itself, (0, check_js_1.signal)({ signal: given }));
    }
    on(name, listener) {
        const kind = record_js_1.EVENT_NAMES.indexOf(name);
        if (kind < 0 && name !== 'event')
            throw (0, check_js_1.wrong)('name', name, `one of event, ${record_js_1.EVENT_NAMES.join(', ')}`);
        (0, check_js_1.callback)('listener', listener);
        const start = (id) => this.#node.onEvent(id);
        const tell = listener;
        return this.#listen(name, listener, start, run => kind < 0 ?
            (given, held) => run(tell, (0, record_js_1.event)(given, held))
            : (given, held) => {
                if (given === kind)
                    run(tell, held);
            });
    }
    off(name, listener) {
        for (const one of [...this.#listening]) {
            if (one.name === name && one.listener === listener)
                one.subscription.cancel();
        }
    }
    /** Calls a listener with what a query finds now, and with every change to that. */
    watch(query, listener) {
        const asked = (0, query_js_1.spec)(query);
        (0, check_js_1.callback)('listener', listener);
        const start = (id) => this.#node.onChange(id, asked);
        const tell = listener;
        return this.#listen('watch', listener, start, run => (kind, held) => run(tell, (0, record_js_1.change)(kind, held)));
    }
    /** Keeps the program alive until the node is closed. */
    ref() {
        if (!this.closed)
            this.#holder.mode = 'always';
        return this;
    }
    /** Lets the program end, though calls of this node wait. */
    unref() {
        this.#holder.mode = 'never';
        return this;
    }
    /**
     * Leaves the cluster, so that others see it at once, and waits until nothing
     * of the node is running. A second call does nothing.
     */
    async close(wait) {
        const given = (0, check_js_1.signal)(wait);
        try {
            await (0, port_js_1.call)('close', this.#holder, id => this.#node.close(id), () => { }, given);
        }
        finally {
            for (const one of [...this.#listening])
                one.subscription.cancel();
            running.delete(this);
            this.#holder.mode = 'waiting';
        }
    }
    async [Symbol.asyncDispose]() {
        await this.close();
    }
    /** @internal */
    [Symbol.for('nodejs.util.inspect.custom')]() {
        return `Node { ${this.id} in ${JSON.stringify(this.namespace)}${this.closed ? ', closed' : ''} }`;
    }
    #call(what, start, convert, wait) {
        return (0, port_js_1.call)(what, this.#holder, start, convert, (0, check_js_1.signal)(wait));
    }
    #listen(name, listener, start, each) {
        const fail = (error) => {
            started.countFailure();
            (0, port_js_1.report)(`a listener for ${JSON.stringify(name)}`, error);
        };
        const visitor = each((tell, payload) => {
            if (one.subscription.cancelled)
                return;
            try {
                const result = tell(payload);
                if (result instanceof Promise)
                    result.catch(fail);
            }
            catch (error) {
                fail(error);
            }
        });
        const id = (0, port_js_1.listen)(work => (0, record_js_1.visit)(work.items, visitor));
        const started = attempt(id, start);
        const subscription = new stream_js_1.Subscription(started, () => {
            (0, port_js_1.unlisten)(id);
            this.#listening.delete(one);
        });
        const one = { name, listener, subscription };
        this.#listening.add(one);
        return subscription;
    }
}
exports.Node = Node;
const FIND = { namespace: check_js_1.string, limit: check_js_1.whole, timeout: check_js_1.ms };
function attempt(id, start) {
    try {
        return (0, errors_js_1.guard)(() => start(id));
    }
    catch (error) {
        (0, port_js_1.unlisten)(id);
        throw error;
    }
}
/** @internal For measuring: a listener that is called so many times with an event. */
function benchEvents(node, count, listener) {
    const id = (0, port_js_1.listen)(work => (0, record_js_1.visit)(work.items, (kind, held) => listener((0, record_js_1.event)(kind, held))));
    return (0, errors_js_1.guard)(() => native_js_1.native.benchEvents(nodes.get(node), id, count));
}
/** @internal For measuring: a view of so many records. */
function benchView(records) {
    return new view_js_1.View((0, errors_js_1.guard)(() => native_js_1.native.benchView(records)));
}
