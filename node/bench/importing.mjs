// How long a require takes over bare Node.js, in milliseconds, and how many
// threads it starts. `--peer` does the same for another package.

import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values } = parseArgs({ options: { runs: { type: 'string' }, peer: { type: 'string' } } })
const runs = Number(values.runs ?? 20)
const name = values.peer ?? 'casm-p2p'

/** What loads it; some packages cannot be required. */
function loading() {
  const quoted = JSON.stringify(name)
  try {
    createRequire(import.meta.url).resolve(name)
    return `require(${quoted})`
  } catch {
    return `await import(${quoted})`
  }
}

const PROGRAM = `(async () => {
const { readdirSync } = require('node:fs')
const tasks = () => { try { return readdirSync('/proc/self/task').length } catch { return 0 } }
const before = tasks()
const start = performance.now()
${loading()}
const took = performance.now() - start
console.log(JSON.stringify([took, tasks() - before]))
process.exit()
})()`

const cwd = dirname(fileURLToPath(import.meta.url))
const measured = Array.from({ length: runs }, () => {
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', PROGRAM], { cwd, encoding: 'utf8' })
  if (!stdout) throw new Error(stderr)
  return JSON.parse(stdout)
})
const took = measured.map(([ms]) => ms).sort((a, b) => a - b)
console.log(
  JSON.stringify({
    bench: 'import',
    language: 'node',
    name: values.peer ?? 'casm',
    import_ms: Number(took[runs >> 1].toFixed(2)),
    import_ms_best: Number(took[0].toFixed(2)),
    threads_started: Math.max(...measured.map(([, threads]) => threads)),
  }),
)
