// How long a require takes over bare Node.js, in milliseconds, and how many
// threads it starts. `--peer` does the same for another package. `empty_ms` is
// what Node.js takes for a package in which there is nothing, and of ours
// `first_call_ms` what the first call takes that needs the native module.

import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values } = parseArgs({ options: { runs: { type: 'string' }, peer: { type: 'string' } } })
const runs = Number(values.runs ?? 20)
const name = values.peer ?? 'casm-p2p'

const cwd = dirname(fileURLToPath(import.meta.url))

/** What loads it; some packages cannot be required. */
function loading(name) {
  const quoted = JSON.stringify(name)
  try {
    createRequire(import.meta.url).resolve(name)
    return `require(${quoted})`
  } catch {
    return `await import(${quoted})`
  }
}

/** Milliseconds, threads, and milliseconds of what comes then. */
function measure(name, then = '') {
  const program = `(async () => {
const { readdirSync } = require('node:fs')
const tasks = () => { try { return readdirSync('/proc/self/task').length } catch { return 0 } }
const before = tasks()
const start = performance.now()
const loaded = ${loading(name)}
const took = performance.now() - start
const started = tasks() - before
const first = performance.now()
${then}
console.log(JSON.stringify([took, started, performance.now() - first]))
process.exit()
})()`
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', program], { cwd, encoding: 'utf8' })
  if (!stdout) throw new Error(stderr)
  return JSON.parse(stdout)
}

const empty = join(cwd, 'node_modules/casm-empty')
mkdirSync(empty, { recursive: true })
writeFileSync(join(empty, 'package.json'), '{ "exports": { ".": { "require": "./index.js" } } }')
writeFileSync(join(empty, 'index.js'), '')

const measured = []
const nothing = []
for (let run = 0; run < runs; run++) {
  measured.push(measure(name, values.peer ? '' : 'loaded.Key.generate()'))
  nothing.push(measure('casm-empty'))
}

function figures(label, all) {
  const sorted = all.sort((a, b) => a - b)
  return { [label]: Number(sorted[runs >> 1].toFixed(2)), [`${label}_best`]: Number(sorted[0].toFixed(2)) }
}

console.log(
  JSON.stringify({
    bench: 'import',
    language: 'node',
    name: values.peer ?? 'casm',
    ...figures('import_ms', measured.map(([took]) => took)),
    ...figures('empty_ms', nothing.map(([took]) => took)),
    ...(values.peer ? {} : figures('first_call_ms', measured.map(([, , first]) => first))),
    threads_started: Math.max(...measured.map(([, threads]) => threads)),
  }),
)
