// The table of what every language has, for Node.js.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import * as casm from 'casm-p2p'
import { cluster } from 'casm-p2p/testing'
import { internal, SOURCE } from './helpers.mjs'

/** A table of arrays of strings and of strings: all of TOML that is used there. */
function parse(text) {
  const table = {}
  let section
  for (const [, name, key, value] of text
    .replaceAll(/^#.*$/gm, '')
    .matchAll(/^\[([\w.]+)\]$|^(\w+) = ("[^"]*"|\[[^\]]*\])$/gm)) {
    if (name) section = table[name] = {}
    else section[key] = JSON.parse(value.replace(/,\s*\]/, ']'))
  }
  return table
}

const TABLE = parse(readFileSync(join(SOURCE, 'bindings/api.toml'), 'utf8'))
const OTHER = TABLE['other.node']
const joined = name => name.replaceAll(/_(\w)/g, (_, letter) => letter.toUpperCase())
const camel = name => OTHER[name] ?? joined(name)
const names = (group, ...columns) =>
  (columns.length ? columns : Object.keys(TABLE[group])).flatMap(column => TABLE[group][column]).map(camel).sort()

const members = cls => [
  ...Object.getOwnPropertyNames(cls.prototype).filter(name => !['constructor', 'length'].includes(name)),
  ...Object.getOwnPropertyNames(cls).filter(name => !['length', 'name', 'prototype'].includes(name)),
]

test('the table is read whole', () => {
  const options = ['node', 'start', 'limits', 'rpc_limits', 'table_limits', 'relay_limits', 'query', 'find_peers', 'topic', 'messages', 'serve', 'call', 'call_all', 'open']
  assert.deepEqual(Object.keys(TABLE.options), options)
  assert.ok(TABLE.errors.kinds.length === 16 && TABLE.events.names.length === 14)
})

test('every option', async () => {
  const { OPTION_NAMES } = internal
  const start = [...names('options', 'node'), ...TABLE.options.start.map(joined)]
  assert.deepEqual([...OPTION_NAMES.node].sort(), start.sort())
  assert.deepEqual([...OPTION_NAMES.limits].sort(), names('options', 'limits'))
  assert.deepEqual([...OPTION_NAMES.rpc_limits].sort(), names('options', 'rpc_limits'))
  assert.deepEqual([...OPTION_NAMES.table_limits].sort(), names('options', 'table_limits'))
  assert.deepEqual([...OPTION_NAMES.relay_limits].sort(), names('options', 'relay_limits'))
  const [node] = await cluster(1)
  const said = (call, name) => assert.throws(() => call({ [name]: 1 }), error => {
    assert.match(error.message, /no such option/)
    const known = error.message.split('only ')[1].split(', ')
    assert.deepEqual(known.sort(), names('options', name))
    return true
  })
  said(options => node.view().count(options), 'query')
  said(options => node.findPeers(options), 'find_peers')
  said(options => node.topic('x', options), 'topic')
  said(options => node.topic('x').subscribe(options), 'messages')
  said(options => node.serve('x', () => {}, options), 'serve')
  said(options => node.callStream('x', undefined, options), 'call')
  said(options => node.callAll('x', undefined, options), 'call_all')
  for (const open of [
    options => node.openStream(node.id, '/x/1', options),
    options => node.openChannel('x', undefined, options),
    options => node.openSemaphore('x', undefined, options),
  ]) {
    await assert.rejects(open({ open: 1 }), error => {
      const known = error.message.split('only ')[1].split(', ')
      assert.deepEqual(known.sort(), [...names('options', 'open'), 'signal'].sort())
      return true
    })
  }
  await node.close()
})

test('every call of the node, and no other', () => {
  // `start` makes a node, `off` is how a listener is cancelled by its name, and
  // only Node.js has to be told what keeps a program alive.
  const own = ['start', 'off', 'ref', 'unref']
  const there = [casm.Node, Object.getPrototypeOf(casm.Node)].flatMap(members)
  assert.deepEqual(there.sort(), [...names('node'), ...own].sort())
})

test('what waits is async', () => {
  const AsyncFunction = (async () => {}).constructor
  for (const name of names('node', 'waits')) {
    assert.ok(casm.Node.prototype[name] instanceof AsyncFunction, name)
  }
})

for (const [group, cls] of Object.entries({
  view: casm.View,
  remote_view: casm.RemoteView,
  topic: casm.Topic,
  message: casm.Message,
  record: casm.Record,
  key: casm.Key,
  secret: casm.Secret,
  subscription: casm.Subscription,
  stream: casm.Stream,
  channel: casm.Channel,
  semaphore: casm.Semaphore,
  lease: casm.Lease,
  request: casm.ServiceRequest,
  answer: casm.Answer,
})) {
  test(`every call of the rest: ${group}`, () => {
    const there = members(cls)
    assert.deepEqual(names(group).filter(name => !there.includes(name)), [])
  })
}

test('every call of a byte stream, which is a Duplex', () => {
  const there = name => name in casm.ByteStream.prototype
  assert.deepEqual(names('byte_stream').filter(name => !there(name)), [])
})

test('every call of a job', () => {
  // Its data is a property of each.
  const there = [...members(casm.Job), 'data']
  assert.deepEqual(names('job').filter(name => !there.includes(name)), [])
})

test('every call of the module', () => {
  assert.deepEqual(names('module').filter(name => !(name in casm)), [])
})

test('import and require give the same, and the types of an import name it', () => {
  const required = createRequire(import.meta.url)('casm-p2p')
  assert.deepEqual(Object.keys(casm).sort(), Object.keys(required).sort())
  for (const name of Object.keys(required)) assert.equal(casm[name], required[name])
  const [, typed] = readFileSync(join(SOURCE, 'node/ts/index.mts'), 'utf8').match(/^export \{([^}]*)\}/m)
  assert.deepEqual(typed.match(/\w+/g).sort(), Object.keys(casm).sort())
})

test('every event', () => {
  const { EVENT_NAMES } = internal
  // PeerJoined is peer:joined; Listening is listening.
  const name = event => event.replace(/(?<=[a-z])[A-Z]/, letter => `:${letter}`).toLowerCase()
  assert.deepEqual(EVENT_NAMES, TABLE.events.names.map(name))
})

test('the kinds of items are those of the native module', () => {
  assert.deepEqual(internal.KINDS, internal.native().kinds())
})

test('every kind of change', () => {
  const types = readFileSync(join(SOURCE, 'node/ts/record.ts'), 'utf8')
  const [, body] = types.match(/export type Change =([^]*?)\n\n/)
  const kinds = [...body.matchAll(/kind: ([^;]*)/g)].flatMap(([, kinds]) => kinds.split(' | '))
  assert.deepEqual(kinds.map(kind => kind.slice(1, -1)), TABLE.changes.kinds)
})

test('every error kind', () => {
  assert.deepEqual([...casm.ERROR_CODES], TABLE.errors.kinds)
})
