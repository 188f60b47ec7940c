// Members in Python, Node.js and Rust that use each other: services, topics and
// streams. Each does what it is asked to by `do.<language>`, in three words between
// bars, and says who it is before what came of it:
//
//     call|NAME|DATA      what a service says, with the headers of the order
//     whose|NAME          the language in the headers of a service's answer, and whose it is
//     fail                nothing: the handler fails
//     header|KEY          what came along
//     parts|NAME|DATA     the parts of a service's answer
//     stream|PEER|TEXT    what a peer answers over a stream
//     publish|TOPIC|TEXT  to how many a message was sent
//     peers|TOPIC|N       waits for so many on a topic
//     see||N              who is in its view, by language, once there are so many
//     heard||TEXT         who said this on the topic
//
// `cargo xtask test languages` has them find each other in a network, with those in
// Swift and Kotlin.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { CasmError, Node } from 'casm-p2p'
import { options } from 'casm-p2p/testing'
import { PATIENCE, patience, SOURCE, TESTS } from './helpers.mjs'

const { CASM_PYTHON: PYTHON, CASM_ACROSS: RUST } = process.env
const PROGRAMS = {
  python: PYTHON && [PYTHON, join(SOURCE, 'python/tests/across.py')],
  node: [process.execPath, join(TESTS, 'across.mjs')],
  rust: RUST && [RUST],
}
const LANGUAGES = Object.keys(PROGRAMS).filter(language => PROGRAMS[language])
const skip = LANGUAGES.length < 3 && 'the Python package, or the program in Rust, is not there: `cargo xtask test node` makes them'
/** Each with each other. */
const PAIRS = LANGUAGES.flatMap(from => LANGUAGES.filter(to => to !== from).map(to => [from, to]))

let node
const ids = {}
const children = []

/** Starts one, which connects to all before it. */
async function start(language, namespace, addrs) {
  const [program, ...args] = PROGRAMS[language]
  const child = spawn(program, [...args, namespace, ...addrs], { stdio: ['pipe', 'pipe', 'inherit'] })
  children.push(child)
  const ended = once(child, 'close').then(() => {
    throw new Error(`${language} is gone`)
  })
  ended.catch(() => {})
  const [line] = await Promise.race([once(createInterface(child.stdout), 'line', patience()), ended])
  const [, id, addr] = line.split(' ')
  ids[language] = id
  return addr
}

before(async () => {
  if (skip) return
  node = await Node.start(options())
  const addrs = [node.addrs()[0]]
  for (const language of LANGUAGES) addrs.push(await start(language, node.namespace, addrs))
  await node.waitFor(4, patience())
})

after(async () => {
  for (const child of children) child.kill('SIGKILL')
  await node?.close()
})

/** Has one do something; what it says of it. */
async function ask(language, order, headers = {}) {
  const answer = await node.call(`do.${language}`, Buffer.from(order), { headers, wait: true, timeout: PATIENCE })
  const said = Buffer.from(answer).toString()
  assert.ok(said.startsWith(`${language}>`), said)
  assert.deepEqual([answer.headers, answer.peer], [{ language }, ids[language]])
  return said.slice(language.length + 1)
}

test('each calls a service of each other', { skip }, async () => {
  for (const [from, to] of PAIRS) {
    assert.equal(await ask(from, `whose|do.${to}`), `${to} ${ids[to]}`)
    assert.equal(await ask(from, `call|do.${to}|header|k`, { k: `${from} to ${to}` }), `${to}>${from} to ${to}`)
  }
})

test('a call goes round: each handler calls the next, twice', { skip }, async () => {
  // Every pair is in it, as caller and as called.
  const round = ['node', 'rust', 'python', 'rust', 'node', 'python']
  const order = `${round.map(language => `call|do.${language}|`).join('')}header|trace`
  assert.equal(await ask('python', order, { trace: 'abc' }), `${round.join('>')}>abc`)
})

test('what a handler fails with comes to its caller through all the others', { skip }, async () => {
  for (const [from, to] of PAIRS) {
    const [between] = LANGUAGES.filter(language => language !== from && language !== to)
    await assert.rejects(ask(from, `call|do.${between}|call|do.${to}|fail`), error => {
      assert.ok(error instanceof CasmError)
      assert.deepEqual([error.code, error.message], ['Remote', `no luck in ${to}`])
      return true
    })
  }
})

test('each reads an answer in parts of each other', { skip }, async () => {
  const wanted = [...Array(100).keys()].join(' ')
  for (const [from, to] of PAIRS) assert.equal(await ask(from, `parts|count.${to}|100`), wanted)
})

test('each opens a stream to each other', { skip }, async () => {
  for (const [from, to] of PAIRS) {
    const said = `${from} to ${to}, `.repeat(10_000)
    assert.equal(await ask(from, `stream|${ids[to]}|${said}`), `${to}:${said.toUpperCase()}`)
  }
})

test('each hears on a topic what each other publishes', { skip }, async () => {
  for (const language of LANGUAGES) assert.ok(Number(await ask(language, `peers|across|${LANGUAGES.length - 1}`)) >= 2)
  for (const from of LANGUAGES) {
    const said = `news of ${from}`
    assert.ok(Number(await ask(from, `publish|across|${said}`)) > 0)
    for (const to of LANGUAGES.filter(to => to !== from)) assert.equal(await ask(to, `heard||${said}`), ids[from])
  }
})
