// How long a require takes over bare Node.js, in milliseconds, how many threads
// it starts, and how large the native module is.

import { spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values } = parseArgs({ options: { runs: { type: 'string' } } })
const runs = Number(values.runs ?? 20)

const require = createRequire(import.meta.url)
const PROGRAM = `
const { readdirSync } = require('node:fs')
const tasks = () => { try { return readdirSync('/proc/self/task').length } catch { return 0 } }
const before = tasks()
const start = performance.now()
require('casm-p2p')
const took = performance.now() - start
console.log(JSON.stringify([took, tasks() - before]))`

const cwd = dirname(fileURLToPath(import.meta.url))
const measured = Array.from({ length: runs }, () =>
  JSON.parse(spawnSync(process.execPath, ['-e', PROGRAM], { cwd, encoding: 'utf8' }).stdout),
)
const took = measured.map(([ms]) => ms).sort((a, b) => a - b)
const library = join(dirname(require.resolve('casm-p2p')), '../casm.node')
console.log(
  JSON.stringify({
    bench: 'import',
    language: 'node',
    name: 'casm',
    import_ms: Number(took[runs >> 1].toFixed(2)),
    threads_started: Math.max(...measured.map(([, threads]) => threads)),
    library_bytes: existsSync(library) ? statSync(library).size : 0,
  }),
)
