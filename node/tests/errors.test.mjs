// Errors, and bad input of every kind.

import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { CasmError, ERROR_CODES, forwardLogs, Key, Node } from 'casm-p2p'
import { cluster, options } from 'casm-p2p/testing'
import { internal, patience } from './helpers.mjs'

const { ofFault, translate } = internal

for (const code of ERROR_CODES) {
  test(`every error kind is a CasmError with its code: ${code}`, () => {
    const handed = ofFault({ code, message: 'what was wrong', cause: 'why' })
    const thrown = translate(Object.assign(new Error('what was wrong', { cause: new Error('why') }), { code }))
    for (const error of [handed, thrown]) {
      assert.ok(error instanceof CasmError && error instanceof Error)
      assert.deepEqual([error.name, error.code, error.message], ['CasmError', code, 'what was wrong'])
      assert.equal(error.cause.message, 'why')
      assert.match(error.stack, /errors\.test\.mjs/)
    }
  })
}

const nobody = `/ip4/127.0.0.1/tcp/1/p2p/${Key.generate().peer}`

const BAD_OPTIONS = [
  [{ namespace: 'a b' }, 'Config', 'a b'],
  [{ listen: 'nonsense' }, 'Address', 'nonsense'],
  [{ listen: ['/ip4/127.0.0.1/tcp/0', 'x'] }, 'Address', '"x"'],
  [{ boot: 'nowhere' }, 'Address', 'nowhere'],
  [{ boot: ['none', 'auto'] }, 'Config', 'none,auto'],
  [{ boot: [] }, 'Config', 'boot'],
  [{ power: 'lower' }, 'Config', 'lower'],
  [{ pace: 'slow' }, 'Config', 'slow'],
  [{ budget: 0 }, 'Config', 'budget: 0'],
  [{ budget: 100_001 }, 'Config', '1 to 100000'],
  [{ serve: 'nowhere' }, 'Address', 'nowhere'],
  [{ announce: 'nowhere' }, 'Address', 'announce: "nowhere"'],
  [{ announce: ['/ip4/0.0.0.0/tcp/4001'] }, 'Address', '0.0.0.0'],
  [{ announceOnly: true }, 'Config', 'announce_only'],
  [{ host: 'h'.repeat(1000) }, 'Config', 'host'],
  [{ meta: { 'a=b': 'c' } }, 'Config', 'a=b'],
  [{ ttl: 100 }, 'Config', 'ttl'],
  [{ ttl: -1 }, 'Config', 'ttl: -1'],
  [{ ttl: NaN }, 'Config', 'ttl: NaN'],
  [{ pexTick: 1 }, 'Config', 'tick'],
  [{ limits: { connections: 0 } }, 'Config', 'limits.connections'],
  [{ limits: { memory: 2 } }, 'Config', 'limits.memory'],
  [{ limits: { rpc: { messageBytes: 1 } } }, 'Config', 'limits.rpc.message_bytes'],
  [{ limits: { rpc: { heldBytes: 1 } } }, 'Config', 'limits.rpc.held_bytes'],
  [{ limits: { rpc: { queuedBytes: 1 } } }, 'Config', 'limits.rpc.queued_bytes'],
  [{ limits: { rpc: { calls: 0 } } }, 'Config', 'limits.rpc.calls'],
  [{ limits: { rpc: { capabilities: 0 } } }, 'Config', 'limits.rpc.capabilities'],
  [{ limits: { rpc: { streamsPerPeer: 0 } } }, 'Config', 'limits.rpc.streams_per_peer'],
  [{ limits: { rpc: { streams: 0 } } }, 'Config', 'limits.rpc.streams'],
  [{ limits: { rpc: { idle: 0 } } }, 'Config', 'limits.rpc.idle'],
  [{ limits: { rpc: { stall: -1 } } }, 'Config', 'limits.rpc.stall: -1'],
  [{ limits: { table: { records: 15 } } }, 'Config', 'limits.table.records'],
  [{ limits: { table: { bytes: 1000 } } }, 'Config', 'limits.table.bytes'],
  [{ limits: { table: { remembered: 0 } } }, 'Config', 'limits.table.remembered'],
  [{ limits: { table: { probation: -1 } } }, 'Config', 'limits.table.probation: -1'],
  [{ relay: true, relayLimits: { reservations: 0 } }, 'Config', 'relay.reservations: 0'],
  [{ relay: true, relayLimits: { circuits: 4097 } }, 'Config', 'relay.circuits: 4097'],
  [{ relay: true, relayLimits: { circuitBytes: 2 ** 40 + 1 } }, 'Config', 'relay.circuit_bytes: 1099511627777'],
  [{ relay: true, relayLimits: { circuitTime: 9999 } }, 'Config', 'relay.circuit_time'],
  [{ relay: true, relayLimits: { circuitTime: -1 } }, 'Config', 'relay.circuit_time: -1'],
  [{ relayLimits: { circuits: 4 } }, 'Config', 'relay: false'],
  [{ allow: 'me' }, 'Address', 'allow: peer id "me"'],
  [{ deny: ['me'] }, 'Address', 'deny: peer id "me"'],
  [{ key: '/nonexistent/key' }, 'Io', '/nonexistent/key'],
  [{ listen: '/ip4/192.0.2.1/tcp/1' }, 'Bind', '192.0.2.1'],
]

for (const [given, code, said] of BAD_OPTIONS) {
  test(`a bad option gives the kind and names the value: ${JSON.stringify(given).slice(0, 50)}`, async () => {
    const error = await Node.start(options(given)).catch(error => error)
    assert.ok(error instanceof CasmError, String(error))
    assert.equal(error.code, code)
    assert.ok(error.message.includes(said), error.message)
  })
}

const WRONG_TYPES = [
  { namespace: 1 },
  { listen: 1 },
  { listen: [1] },
  { boot: null },
  { host: [] },
  { meta: { a: 1 } },
  { meta: ['a'] },
  { ttl: '10s' },
  { observer: 'yes' },
  { data: 7 },
  { pexTick: '5m' },
  { relay: 1 },
  { relayLimits: 7 },
  { relayLimits: { circuitBytes: -1 } },
  { relayLimits: { no_such_limit: 1 } },
  { useRelays: 'no' },
  { upnp: 'yes' },
  { limits: 7 },
  { limits: { connections: 1.5 } },
  { limits: { no_such_limit: 1 } },
  { limits: { rpc: 7 } },
  { limits: { rpc: { no_such_limit: 1 } } },
  { key: 7 },
  { allow: 7 },
  { deny: [7] },
  { no_such_option: 1 },
]

for (const given of WRONG_TYPES) {
  test(`a wrong type fails at the call, and names the option: ${JSON.stringify(given)}`, async () => {
    const error = await Node.start(options(given)).catch(error => error)
    assert.ok(error instanceof TypeError, String(error))
    assert.equal(error.code, 'ERR_INVALID_ARG_TYPE')
    assert.ok(error.message.includes(Object.keys(given)[0]), error.message)
  })
}

const BAD_CALLS = {
  'waitFor a negative number': [n => n.waitFor(-1), TypeError, 'n: -1'],
  'waitFor text': [n => n.waitFor('3'), TypeError, 'n: "3"'],
  'a signal that is none': [n => n.waitFor(1, { signal: 3 }), TypeError, 'signal: 3'],
  'an option of a call that is none': [n => n.waitFor(1, { timeout: 3 }), TypeError, 'timeout'],
  'an event that is none': [n => n.on('peer:gone', () => {}), TypeError, 'peer:gone'],
  'a listener that cannot be called': [n => n.on('event', 3), TypeError, 'listener: 3'],
  'the same for changes': [n => n.watch('host:a', 'x'), TypeError, 'listener: "x"'],
  'a query with no field': [n => n.view().iter('worker'), 'Config', 'worker'],
  'a query of another type': [n => n.subscribe(3), TypeError, 'query: 3'],
  'a part of a query that is none': [n => n.view().count({ like: 'x' }), TypeError, 'query.like'],
  'an index that is none': [n => n.view().count({ match: { age: 'x' } }), TypeError, 'query.match'],
  'a server number that is no bigint': [n => n.view().count({ match: { server: 1 } }), TypeError, 'query.match.server'],
  'a value to match and one to begin at': [n => n.subscribe({ match: 'host:a', from: 'host:b' }), 'Invalid', 'choose one'],
  'a range over two fields': [n => n.watch({ from: 'host:a', to: 'peer:b' }, () => {}), null, ''],
  'a peer id that is none': [n => n.view().get('me'), 'Address', '"me"'],
  'a view of a peer id that is none': [n => n.viewOf('me'), 'Address', '"me"'],
  'a peer with no id': [n => n.connect(['/ip4/127.0.0.1/tcp/1', '/ip4/127.0.0.1/tcp/2']), 'Address', '/p2p/'],
  'a peer that is not there': [n => n.connect(nobody), 'Unreachable', '/ip4/127.0.0.1/tcp/1'],
  'an address that is none': [n => n.connect('/ip4/x'), 'Address', '/ip4/x'],
  'an address of another type': [n => n.connect(null), TypeError, 'peer: null'],
  'a namespace that is none': [n => n.findPeers({ namespace: '..' }), 'Config', '..'],
  'a time that is none': [n => n.findPeers({ timeout: -1 }), 'Config', 'timeout: -1'],
  'to advertise in a namespace that is none': [n => n.advertise('a b', 1), 'Config', 'a b'],
  'meta of the wrong type': [n => n.setMeta({ a: 1 }), TypeError, 'meta.a'],
  'a change of the wrong type': [n => n.updateMeta({ a: 1 }), TypeError, 'changes.a'],
  'a change with a bad key': [n => n.updateMeta({ 'a=b': 'c' }), 'Config', 'a=b'],
  'a wait that never ends': [n => n.waitFor(2, { query: { limit: 1 } }), 'Invalid', 'limit is 1'],
  'meta with a bad key': [n => n.setMeta({ 'a=b': 'c' }), 'Config', 'a=b'],
  'too long a host': [n => n.setHost('h'.repeat(1000)), 'Config', 'host'],
  'too short a TTL': [n => n.setTtl(0), 'Config', 'ttl'],
  'a TTL of another type': [n => n.setTtl('1s'), TypeError, 'ttl: "1s"'],
  'to allow what is no id': [n => n.allow([n.id, 'me']), 'Address', 'allow: peer id "me"'],
  'to disallow what is no id': [n => n.disallow('me'), 'Address', '"me"'],
  'to take nobody but what is no id': [n => n.setAllowed(''), 'Address', 'set_allowed: peer id ""'],
  'to deny what is no id': [n => n.deny('me'), 'Address', 'deny: peer id "me"'],
  'to undeny what is no id': [n => n.undeny(new Set(['me'])), 'Address', '"me"'],
  'to deny a record': [n => n.deny(n.view().get(n.id)), TypeError, 'ids: '],
  'to deny a number': [n => n.setDenied([n.id, 7]), TypeError, 'ids[1]: 7'],
  'to allow nothing': [n => n.allow(), TypeError, 'ids: undefined'],
  'to deny itself': [n => n.deny(n.id), 'Config', 'this node itself'],
  'to deny itself among others': [n => n.setDenied([Key.generate().peer, n.id]), 'Config', 'this node itself'],
  'a log level that is none': [() => forwardLogs('loud'), 'Config', 'loud'],
  'a key file that is there': [() => Key.generate().save('/dev/null'), 'Config', '/dev/null'],
  'a key of another type': [() => Key.load(3), TypeError, 'path: 3'],
}

describe('bad calls', () => {
  let node
  before(async () => ([node] = await cluster(1)))
  after(() => node.close())

  for (const [what, [call, kind, said]] of Object.entries(BAD_CALLS)) {
    test(`a bad call, made twice, gives the kind and names the value: ${what}`, async () => {
      for (let attempt = 0; attempt < 2; attempt++) {
        const error = await (async () => call(node))().then(
          () => assert.fail('it works'),
          error => error,
        )
        assert.ok(kind === TypeError ? error instanceof TypeError : error instanceof CasmError, String(error))
        if (typeof kind === 'string') assert.equal(error.code, kind, error.message)
        assert.ok(error.message.includes(said), error.message)
      }
      // The node is none the worse for it.
      assert.equal((await node.waitFor(1, patience())).size, 1)
    })
  }

  test('messages hold no build path', async () => {
    const error = await node.connect(nobody).catch(error => error)
    assert.ok(!/\.rs|\.cargo/.test(error.message), error.message)
  })
})
