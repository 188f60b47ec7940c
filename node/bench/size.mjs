// How large a package is: the tarballs that npm downloads for this platform, and
// the native module that is loaded from them, in bytes. `--peer` does the same
// for another package, from npm.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values } = parseArgs({ options: { peer: { type: 'string' } } })
const name = values.peer ?? 'casm-p2p'

const module = await import(name)
// Ours loads its native module at the first call that needs it.
if (!values.peer) module.Key.generate()
const loaded = process.report.getReport().sharedObjects.filter(file => file.endsWith('.node'))
if (loaded.length === 0) throw new Error(`${name} loads no native module`)

/** The name of the package in which a file is. */
function packageOf(file) {
  const [scope, name] = file.split(`${sep}node_modules${sep}`).at(-1).split(sep)
  return scope.startsWith('@') ? `${scope}/${name}` : scope
}

/** The tarball of a package that is installed here, as npm has it. */
function download(name) {
  const manifest = join(dirname(fileURLToPath(import.meta.url)), 'node_modules', name, 'package.json')
  const { version } = JSON.parse(readFileSync(manifest))
  const folder = mkdtempSync(join(tmpdir(), 'casm-size-'))
  try {
    const packed = execFileSync('npm', ['pack', '--json', `${name}@${version}`], { cwd: folder, encoding: 'utf8' })
    return JSON.parse(packed)[0].size
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const sum = numbers => numbers.reduce((a, b) => a + b, 0)
const tarballs = values.peer
  ? [...new Set([name, ...loaded.map(packageOf)])].map(download)
  : process.env.CASM_TARBALLS.split(delimiter).map(file => statSync(file).size)
console.log(
  JSON.stringify({
    bench: 'size',
    language: 'node',
    name: values.peer ?? 'casm',
    package_bytes: sum(tarballs),
    library_bytes: sum(loaded.map(file => statSync(file).size)),
  }),
)
