// The types hold: for import and for require, in strict mode.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { SOURCE, TESTS } from './helpers.mjs'

const require = createRequire(import.meta.url)
const tsc = createRequire(join(SOURCE, 'node/package.json')).resolve('typescript/bin/tsc')

for (const module of ['cts', 'mts']) {
  test(`tsc in strict mode accepts a program that uses everything: ${module}`, () => {
    const done = spawnSync(process.execPath, [tsc, '-p', join(TESTS, `tsconfig.${module}.json`)], { encoding: 'utf8' })
    assert.equal(done.status, 0, done.stdout)
  })
}

test('an import and a require have the same names', () => {
  const names = file => {
    const text = readFileSync(join(SOURCE, 'node/ts', file), 'utf8')
    const lists = [...text.matchAll(/^export (?:type )?\{([^}]*)\}/gm)].flatMap(([, list]) => list.split(','))
    return lists.map(name => name.trim().replace(/^type /, '')).filter(Boolean).sort()
  }
  assert.ok(names('index.ts').includes('CallOptions') && names('index.ts').includes('Topic'))
  assert.deepEqual(names('index.mts'), names('index.ts'))
})

test('what is internal is not in the types', () => {
  const dist = dirname(require.resolve('casm-p2p'))
  for (const file of readdirSync(dist).filter(name => name.endsWith('.d.ts'))) {
    assert.doesNotMatch(readFileSync(join(dist, file), 'utf8'), /benchEvents\(node: Node|ofFault|OPTION_NAMES/, file)
  }
})
