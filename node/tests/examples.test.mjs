// The README's snippets and the examples, in a network of their own: there,
// nodes find each other with no configuration, and nobody else hears of it.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { noNetworks, PATIENCE, SOURCE, TESTS } from './helpers.mjs'

const EXAMPLES = join(TESTS, '../examples')
const PYTHON = process.env.CASM_PYTHON

let holder
const running = []

const skip = noNetworks()

/** A namespace that has only a loopback interface. */
before(async () => {
  if (skip) return
  const made = 'ip link set lo up && echo ready && exec sleep 3600'
  holder = spawn('unshare', ['--net', 'sh', '-c', made])
  const ended = once(holder, 'close').then(() => {
    throw new Error('no network was made: is `ip` there?')
  })
  await Promise.race([once(holder.stdout, 'data'), ended])
})

/** Nobody hears those of the test before. */
async function end() {
  for (const { child, closed } of running.splice(0)) {
    child.kill('SIGKILL')
    await closed
  }
}

after(async () => {
  await end()
  holder?.kill()
})

/** A program in the namespace, and what it prints. */
class Program {
  lines = []
  #seen = 0

  constructor(command, env = {}) {
    this.child = spawn('nsenter', [`--net=/proc/${holder.pid}/ns/net`, ...command], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, ...env },
    })
    this.closed = once(this.child, 'close')
    createInterface(this.child.stdout).on('line', line => {
      this.lines.push(line)
      this.child.emit('line')
    })
    running.push(this)
  }

  /** The first line from here on that matches. */
  async line(wanted) {
    const signal = AbortSignal.timeout(PATIENCE)
    for (;;) {
      while (this.#seen < this.lines.length) {
        const line = this.lines[this.#seen++]
        if (wanted.test(line)) return line
      }
      await once(this.child, 'line', { signal }).catch(() => {
        throw new Error(`no line matches ${wanted} in:\n${this.lines.join('\n')}`)
      })
    }
  }
}

const node = (file, ...args) => new Program([process.execPath, file, ...args])
const example = (name, ...args) => node(join(EXAMPLES, name), ...args)

const snippets = file => [...readFileSync(join(SOURCE, file), 'utf8').matchAll(/^```(?:ts|js)\n([^]*?)^```/gm)].map(([, text]) => text)

/** A snippet as a program; `await using` is for the compiler. */
function program(folder, name, text) {
  const file = join(folder, name)
  writeFileSync(file, text.replaceAll('await using ', 'const '))
  return file
}

test('the snippets of the README find each other', { skip }, async () => {
  const folder = mkdtempSync(join(TESTS, 'snippets-'))
  try {
    const [first, second] = snippets('node/README.md')
    const workers = [1, 2].map(() => node(program(folder, 'first.mjs', first)))
    for (const worker of workers) await worker.line(/^here: 12D3KooW.* worker$/)
    const boss = node(program(folder, 'second.mjs', second))
    for (const worker of workers) await worker.line(/^peer:joined .*boss/)
    for (const _ of workers) await boss.line(/^(current|joined) 12D3KooW/)
  } finally {
    await end()
    rmSync(folder, { recursive: true })
  }
})

test("the snippet of the project's README", { skip }, async () => {
  const folder = mkdtempSync(join(TESTS, 'snippets-'))
  try {
    const [snippet] = snippets('README.md')
    const programs = [1, 2, 3].map(() => node(program(folder, 'snippet.mjs', snippet)))
    for (const one of programs) for (let n = 0; n < 3; n++) await one.line(/^12D3KooW/)
  } finally {
    await end()
    rmSync(folder, { recursive: true })
  }
})

test('the example discover', { skip }, async () => {
  const [first, second] = [example('discover.js'), example('discover.js')]
  const name = (await second.line(/^I am /)).split(' ').at(-1)
  await first.line(new RegExp(`^\\+ ${name}`))
  second.child.kill('SIGINT')
  assert.deepEqual(await second.closed, [0, null])
  await first.line(new RegExp(`^- ${name}`))
  await end()
})

test('the example worker_pool', { skip }, async () => {
  const boss = example('worker_pool.js', 'boss')
  let worker
  for (const number of [2, 3]) {
    worker = example('worker_pool.js', 'worker')
    const name = (await worker.line(/^worker /)).split(' ')[1]
    await boss.line(new RegExp(`^${name} says ${number}² = ${number ** 2}$`))
  }
  worker.child.kill('SIGINT')
  await boss.line(/^left$/)
  await end()
})

test('the example service', { skip }, async () => {
  const [first, second] = [example('service.js', 'Ann'), example('service.js', 'Bob')]
  await first.line(/^hello Ann, this is Node.js$/)
  await second.line(/^hello Bob, this is Node.js$/)
  await end()
})

test('the examples service of Node.js and of Python use each other: each sees the other\'s meta', {
  skip: skip || (!PYTHON && 'the Python package is not there'),
}, async () => {
  const ours = example('service.js', 'Ann')
  const theirs = new Program([PYTHON, join(SOURCE, 'python/examples/service.py'), 'Bob'], { PYTHONUNBUFFERED: '1' })
  await ours.line(/^hello Ann, this is Python$/)
  await theirs.line(/^hello Bob, this is Node.js$/)
  await end()
})
