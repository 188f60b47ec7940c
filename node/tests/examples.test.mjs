// The README's snippets and the examples, in a network of their own: there,
// nodes find each other with no configuration, and nobody else hears of it.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { noNetworks, PATIENCE, SOURCE, TESTS, until } from './helpers.mjs'

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

const python = (name, ...args) =>
  new Program([PYTHON, join(SOURCE, 'python/examples', name), ...args], { PYTHONUNBUFFERED: '1' })

test('the example fan_in', { skip }, async () => {
  const names = ['attic', 'cellar', 'roof']
  const sensors = names.map(name => (name === 'roof' && PYTHON ? python('fan_in.py', 'sensor', name) : example('fan_in.js', 'sensor', name)))
  for (const sensor of sensors) await sensor.line(/^sensor \w+ is /)
  const collector = example('fan_in.js', 'collector', '3')
  await collector.line(/^all sensors are done$/)
  for (const name of names) {
    const readings = collector.lines.map(line => /^\d: (\w+) (\d+)$/.exec(line)).filter(found => found?.[1] === name)
    assert.deepEqual(readings.map(found => Number(found[2])), [...Array(10).keys()])
  }
  assert.deepEqual(await collector.closed, [0, null])
  await end()
})

const done = boss => boss.lines.map(line => /^(\d+)² = (\d+)$/.exec(line)).filter(Boolean)
const numbers = boss => done(boss).map(found => Number(found[1])).sort((a, b) => a - b)

/** Jobs of a boss here are done by a pool that grows, and shrinks again. */
async function pools(pool) {
  const boss = example('worker_pool.js', 'boss', '300')
  await boss.line(/^boss is /)
  const workers = pool()
  await workers.line(/^\d+ jobs wait for 3 workers$/)
  const file = `/proc/${workers.child.pid}/task/${workers.child.pid}/children`
  const children = () => readFileSync(file, 'utf8').split(' ').filter(Boolean)
  assert.equal(children().length, 3)
  process.kill(Number(children()[0]), 'SIGKILL')
  await boss.line(/^all 300 are done$/)
  assert.deepEqual(numbers(boss), [...Array(300).keys()])
  await workers.line(/^0 jobs wait for 1 workers$/)
  assert.equal(children().length, 1)
  boss.child.kill('SIGINT')
  assert.deepEqual(await workers.closed, [0, null])
  await end()
}

test('the example worker_pool grows and shrinks', { skip }, () => pools(() => example('worker_pool.js', 'pool', '3')))

test('the example worker_pool with workers of Python grows and shrinks', {
  skip: skip || (!PYTHON && 'the Python package is not there'),
}, () => pools(() => python('worker_pool.py', 'pool', '3')))

/** Jobs of a boss here are done by workers that come and are killed. */
async function jobs(worker) {
  const count = 60
  const boss = example('worker_pool.js', 'boss', `${count}`)
  await boss.line(/^boss is /)
  for (const killed of [worker(), worker()]) {
    await killed.line(/^at /)
    killed.child.kill('SIGKILL')
  }
  const last = worker()
  await boss.line(new RegExp(`^all ${count} are done$`))
  assert.deepEqual(numbers(boss), [...Array(count).keys()])
  for (const [, number, square] of done(boss)) assert.equal(Number(square), Number(number) ** 2)
  boss.child.kill('SIGINT')
  await last.line(/^no more jobs$/)
  assert.deepEqual(await last.closed, [0, null])
  await end()
}

test('the example worker_pool, whose workers are killed', { skip }, () =>
  jobs(() => example('worker_pool.js', 'worker')))

test('the example worker_pool with workers of Python, which are killed', {
  skip: skip || (!PYTHON && 'the Python package is not there'),
}, () => jobs(() => python('worker_pool.py', 'worker')))

test('the example leader, whose holder is stopped', { skip }, async () => {
  await example('leader.js', 'keeper').line(/^keeper /)
  const token = async program => BigInt((await program.line(/^I lead with token /)).split(' ').at(-1))
  const first = example('leader.js', 'candidate')
  const low = await token(first)
  const second = example('leader.js', 'candidate')
  await second.line(/^I follow$/)
  first.child.kill('SIGSTOP')
  let higher
  try {
    higher = await token(second)
  } finally {
    first.child.kill('SIGCONT')
  }
  assert.ok(higher > low)
  await first.line(/^I lead no longer$/)
  second.child.kill('SIGKILL')
  assert.ok((await token(first)) > higher)
  await end()
})

test('the example service', { skip }, async () => {
  const [first, second] = [example('service.js', 'Ann'), example('service.js', 'Bob')]
  await first.line(/^hello Ann, this is Node.js$/)
  await second.line(/^hello Bob, this is Node.js$/)
  await end()
})

test('the example chat, with one of Python', { skip }, async () => {
  const [ann, bob] = [example('chat.js', 'Ann'), (PYTHON ? python('chat.py', 'Bob') : example('chat.js', 'Bob'))]
  for (const one of [ann, bob]) await one.line(/^1 more are here: type$/)
  ann.child.stdin.write('hello\n')
  await bob.line(/^Ann: hello$/)
  bob.child.stdin.write('hello\n')
  await ann.line(/^Bob: hello$/)
  ann.child.stdin.end()
  assert.deepEqual(await ann.closed, [0, null])
  await end()
})

// Sends half of a file, and then nothing more.
const HALF = `
import { readFileSync } from 'node:fs'
import { Node } from 'casm-p2p'
const node = (await Node.start({ namespace: 'files', meta: { role: 'sender' } })).ref()
node.onStream('/example/file/1', async stream => {
  const data = readFileSync(process.argv[2])
  const length = Buffer.alloc(8)
  length.writeBigUInt64BE(BigInt(data.length))
  stream.write(Buffer.concat([length, data.subarray(0, data.length / 2)]))
  await new Promise(() => {})
})
console.log('ready')
`

/** What a sender that breaks has begun, another one ends. */
async function transfers(sender) {
  const folder = mkdtempSync(join(TESTS, 'files-'))
  try {
    const [original, copy] = [join(folder, 'original'), join(folder, 'copy')]
    const data = randomBytes(3 << 20)
    writeFileSync(original, data)
    const half = node(program(folder, 'half.mjs', HALF), original)
    await half.line(/^ready$/)
    const fetch = example('file_transfer.js', 'fetch', copy)
    await until(() => statSync(copy, { throwIfNoEntry: false })?.size)
    half.child.kill('SIGKILL')
    const have = Number((await fetch.line(/^it broke after /)).split(' ')[3])
    assert.ok(have > 0 && have <= data.length / 2)
    const sends = sender(original)
    await fetch.line(new RegExp(`^${have} of ${data.length} bytes are there$`))
    await fetch.line(new RegExp(`^all ${data.length} bytes are there$`))
    assert.deepEqual(await fetch.closed, [0, null])
    await sends.line(new RegExp(`^12D3KooW.* has it from ${have} on$`))
    assert.ok(readFileSync(copy).equals(data))
  } finally {
    await end()
    rmSync(folder, { recursive: true })
  }
}

test('the example file_transfer goes on where it broke', { skip }, () =>
  transfers(file => example('file_transfer.js', 'send', file)))

test('the example file_transfer goes on with a sender of Python', {
  skip: skip || (!PYTHON && 'the Python package is not there'),
}, () => transfers(file => python('file_transfer.py', 'send', file)))

test('the examples service of Node.js and of Python greet each other', {
  skip: skip || (!PYTHON && 'the Python package is not there'),
}, async () => {
  const ours = example('service.js', 'Ann')
  const theirs = python('service.py', 'Bob')
  await ours.line(/^hello Ann, this is Python$/)
  await theirs.line(/^hello Bob, this is Node.js$/)
  await end()
})
