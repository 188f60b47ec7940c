// What the tests share: nodes on the loopback interface only, and programs of
// their own that must end in time.

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Node } from 'casm-p2p'

/** Nothing may hang for longer than this, on however busy a machine. */
export const PATIENCE = 60_000

export const TESTS = dirname(fileURLToPath(import.meta.url))
/** The project's folder. */
export const SOURCE = process.env.CASM_SOURCE ?? join(TESTS, '../..')

export const patience = () => ({ signal: AbortSignal.timeout(PATIENCE) })

const PRELUDE = `
const { Node, Key, CasmError, forwardLogs } = require('casm-p2p')
const { options, cluster } = require('casm-p2p/testing')
const { benchEvents } = Node[Symbol.for('casm-p2p.internal')];
`

/** Runs a program in a Node.js of its own, which the command `within` may start, to its end. */
export async function run(program, { async = true, args = [], within = [] } = {}) {
  const main = async ? `(async () => {${program}})()` : program
  const [command, ...rest] = [...within, process.execPath, '-e', PRELUDE + main, ...args]
  const child = spawn(command, rest, { cwd: TESTS })
  let [out, err] = ['', '']
  child.stdout.on('data', data => (out += data))
  child.stderr.on('data', data => (err += data))
  const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE)
  const [code, signal] = await once(child, 'close')
  clearTimeout(timer)
  return { code, signal, out, err }
}

/** The same for one that must end well; gives what it wrote. */
export async function ends(program, options) {
  const done = await run(program, options)
  assert.deepEqual([done.code, done.signal, done.err], [0, null, ''], JSON.stringify(done))
  return done.out
}

/** Why no network namespace can be made here, false if one can; in CI that is a failure. */
export function noNetworks() {
  if (spawnSync('unshare', ['--net', 'true']).status === 0) return false
  if (process.env.CI) throw new Error('no network namespace can be made here')
  return 'no network namespace can be made here: run as root'
}

/** What only tests reach. */
export const internal = Node[Symbol.for('casm-p2p.internal')]

/** Waits until something holds. */
export async function until(holds) {
  const end = Date.now() + PATIENCE
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`it never held: ${holds}`)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
