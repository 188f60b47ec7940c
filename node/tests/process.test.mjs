// Loading, exit, signals and workers: each in a Node.js of its own.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { cluster } from 'casm-p2p/testing'
import { ends, patience, run, TESTS } from './helpers.mjs'

/** How often the exits are tried. */
const EXITS = 50

const linux = process.platform === 'linux'

test('require starts no thread, and installs nothing', { skip: !linux && 'counts threads in /proc' }, async () => {
  const program = `
    const { readdirSync } = require('node:fs')
    const count = () => readdirSync('/proc/self/task').length
    const seen = () => [count(), ...['exit', 'SIGINT', 'beforeExit'].map(name => process.listenerCount(name))]
    const before = JSON.stringify(seen())
    require('casm-p2p')
    console.log(before === JSON.stringify(seen()), before, JSON.stringify(seen()))`
  const child = spawn(process.execPath, ['-e', program], { cwd: TESTS })
  let out = ''
  child.stdout.on('data', data => (out += data))
  await once(child, 'close')
  assert.match(out, /^true/)
})

test('require leaves the native module for the first call', { skip: !linux && 'looks in /proc' }, async () => {
  const out = await ends(`
    const mapped = () => require('node:fs').readFileSync('/proc/self/maps', 'utf8').includes('casm.node')
    console.log(mapped(), Key.generate().peer.length > 0, mapped())`)
  assert.equal(out, 'false true true\n')
})

/** The package in a folder of its own, with this as its native module. */
function packageWith(context, module) {
  const folder = mkdtempSync(join(tmpdir(), 'casm-'))
  context.after(() => rmSync(folder, { recursive: true }))
  const dist = dirname(createRequire(import.meta.url).resolve('casm-p2p'))
  cpSync(dist, join(folder, 'dist'), { recursive: true })
  if (module !== undefined) writeFileSync(join(folder, 'casm.node'), module)
  return JSON.stringify(join(folder, 'dist'))
}

const REMEDY = /no native module works on \S+ \S+ \(.*\)\. Install again without --no-optional/

test('a package without its native module says so at once', async context => {
  const dist = packageWith(context)
  const error = await ends(`try { require(${dist}) } catch (error) { console.log(error.message) }`)
  assert.match(error, REMEDY)
  assert.match(error, new RegExp(`casm-p2p-${process.platform}-${process.arch}\\S*: not there`))
  // Node.js 20 reports what CommonJS throws in an import, caught or not.
  const imported = await run(`await import(${dist} + '/index.mjs').catch(error => console.log(error.message))`)
  assert.equal(imported.out, error)
})

test('a native module that cannot be loaded says so at the first call', async context => {
  const dist = packageWith(context, 'no module')
  const error = await ends(`
    const { Key, Node } = require(${dist})
    try { Key.generate() } catch (error) { console.log(error.message) }
    await Node.start().catch(error => console.log(error.message))`)
  const [first, second] = error.trim().split('\n')
  assert.match(first, REMEDY)
  assert.equal(second, first)
})

const NEVER_CLOSED = `
  const node = await Node.start(options())
  const other = await Node.start(options({ namespace: node.namespace }))
  node.on('event', () => {})
  node.watch(undefined, () => {})
  await other.connect(node.info())
  await node.waitFor(2)
  benchEvents(node, 4_000_000_000, () => {})
`

test('exit without close never hangs or aborts: at the end of the program', async () => {
  for (let attempt = 0; attempt < EXITS; attempt++) await ends(NEVER_CLOSED)
})

test('exit without close never hangs or aborts: process.exit while calls wait', async () => {
  const waits = `
    node.waitFor(9).catch(() => {})
    node.events().next()
    other.subscribe('host:nobody').next()
    process.exit()`
  for (let attempt = 0; attempt < EXITS; attempt++) await ends(NEVER_CLOSED + waits)
})

test('exit after close', async () => {
  await ends(NEVER_CLOSED + 'await node.close(); await other.close()')
})

test('exit without close says goodbye', async () => {
  const [node] = await cluster(1, { ttl: 3_600_000 })
  const events = node.events()
  const [namespace, addrs] = [JSON.stringify(node.namespace), JSON.stringify(node.addrs())]
  node.on('peer:joined', () => node.setHost('seen'))
  // Who is gone before it was seen is no one's loss.
  await ends(`
    const node = await Node.start(options({ namespace: ${namespace}, ttl: 3_600_000 }))
    await node.connect(${addrs})
    await node.waitFor(1, { query: 'host:seen' })`)
  for await (const event of events) {
    if (event.type === 'peer:left') {
      assert.equal(event.reason, 'left')
      break
    }
  }
  await node.close()
})

test('a pending wait keeps the program alive, unless unref says otherwise', async () => {
  const held = await ends(`
    const node = await Node.start(options())
    const timer = setTimeout(async () => { console.log('alive'); await node.close() }, 300)
    timer.unref()
    await node.waitFor(9).catch(error => console.log(error.code))`)
  assert.equal(held, 'alive\nClosed\n')
  const free = await ends(`
    const node = await Node.start(options())
    node.unref()
    setTimeout(() => console.log('alive'), 10_000).unref()
    node.waitFor(9)
    node.events().next()`)
  assert.equal(free, '')
})

test('an open node keeps the program alive only after ref', async () => {
  const program = `
    const node = await Node.start(options())
    node.on('event', () => {})
    setTimeout(() => { console.log('alive'); node.close() }, 300).unref()`
  assert.equal(await ends(program), '')
  assert.equal(await ends(`${program}; node.ref()`), 'alive\n')
})

test('a program that throws ends with its own error', async () => {
  const done = await run(`${NEVER_CLOSED}; throw new Error('of the program')`)
  assert.equal(done.code, 1)
  assert.match(done.err, /of the program/)
})

for (const [what, wait] of Object.entries({
  'a call': 'await node.waitFor(100)',
  'a for await': 'for await (const event of node.events());',
})) {
  test(`Ctrl-C ends a program that waits for ${what}`, async () => {
    const program = `
      const { Node } = require('casm-p2p'), { options } = require('casm-p2p/testing')
      ;(async () => {
        const node = await Node.start(options())
        console.log('waiting')
        ${wait}
      })()`
    const child = spawn(process.execPath, ['-e', program], { cwd: TESTS })
    await once(child.stdout, 'data', patience())
    child.kill('SIGINT')
    const [code, signal] = await once(child, 'close', patience())
    assert.deepEqual([code, signal], [null, 'SIGINT'])
  })
}

test('a program may leave on Ctrl-C with a goodbye of its own', async () => {
  const out = await ends(`
    const node = await Node.start(options())
    const abort = new AbortController()
    process.once('SIGINT', () => abort.abort())
    setTimeout(() => process.kill(process.pid, 'SIGINT'), 50)
    try { for await (const event of node.events(abort)); } catch (error) { console.log(error.code) }
    await node.close()`)
  assert.equal(out, 'Cancelled\n')
})

const WORKER = `
  const { Worker } = require('node:worker_threads')
  const path = require.resolve('casm-p2p')
  const body = \`
    const { parentPort } = require('node:worker_threads')
    const { Node } = require(\${JSON.stringify(path)})
    const { benchEvents } = Node[Symbol.for('casm-p2p.internal')]
    const { options } = require(\${JSON.stringify(path.replace('index.js', 'testing.js'))})
    Node.start(options()).then(async node => {
      await node.waitFor(1)
      node.on('event', () => {})
      node.waitFor(9).catch(() => {})
      node.events().next()
      benchEvents(node, 4_000_000_000, () => {})
      parentPort.postMessage(node.id)
      setInterval(() => {}, 1000)
    })\`
  const start = async () => {
    const worker = new Worker(body, { eval: true })
    await new Promise(resolve => worker.once('message', resolve))
    return worker
  }
`

test('a worker thread is terminated while events come and calls wait, and the program goes on', async () => {
  const out = await ends(`${WORKER}
    const own = await Node.start(options())
    await own.waitFor(1)
    const took = []
    for (let n = 0; n < 10; n++) {
      const worker = await start()
      const begin = performance.now()
      await worker.terminate()
      took.push(performance.now() - begin)
    }
    console.log((await own.waitFor(1)).size, Math.max(...took))
    await own.close()`)
  const [size, ms] = out.split(' ').map(Number)
  assert.equal(size, 1)
  console.log(`terminated within ${ms.toFixed(0)} ms`)
})

test('a program exits while workers run, and a worker may end by itself', async () => {
  await ends(`${WORKER}
    await Promise.all([start(), start()])
    process.exit()`)
  await ends(`${WORKER}
    const worker = new Worker(body.replace('setInterval', 'process.exit();setInterval'), { eval: true })
    await new Promise(resolve => worker.once('exit', resolve))`)
})

test('ESM and CJS are one implementation', async () => {
  await ends(`
    const esm = await import('casm-p2p')
    if (esm.Node !== Node || esm.CasmError !== CasmError) throw new Error('two')
    if (Object.keys(require('casm-p2p')).sort().join() !== Object.keys(esm).filter(n => n !== 'default' && n !== 'module.exports').sort().join()) throw new Error('other names')`)
})
