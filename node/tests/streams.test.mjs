// Byte streams: a Duplex as any other.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Duplex, Readable } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { ByteStream, CasmError, Key, Node } from 'casm-p2p'
import { cluster, options } from 'casm-p2p/testing'
import { patience, run, until } from './helpers.mjs'

const refused = code => error => error instanceof CasmError && error.code === code

test('bytes go both ways, and each end closes its own', async () => {
  const [a, b] = await cluster(2)
  const seen = []
  b.onStream('/x/1', async (stream, peer) => {
    seen.push(peer, stream.protocol)
    const all = await buffer(stream)
    stream.end(`${all.length} bytes`)
  })
  const stream = await a.openStream(b.info(), '/x/1', patience())
  assert.ok(stream instanceof ByteStream && stream instanceof Duplex)
  assert.deepEqual([stream.peer, stream.protocol], [b.id, '/x/1'])
  assert.match(inspect(stream), /^ByteStream { \/x\/1 to 12D3/)
  Readable.from(Array.from({ length: 100 }, () => Buffer.alloc(30_000))).pipe(stream)
  assert.equal(await text(stream), '3000000 bytes')
  assert.deepEqual(seen, [a.id, '/x/1'])
  await until(() => stream.destroyed)
  await stream.close()
  await Promise.all([a.close(), b.close()])
})

test('a record, an id and an address lead there, and others are refused', async () => {
  const [a, b] = await cluster(2)
  const served = b.onStream('/x/1', stream => void stream.pipe(stream))
  const record = a.view().get(b.id)
  assert.deepEqual(record.addrs, b.info().addrs)
  assert.deepEqual(JSON.parse(JSON.stringify(record)).addrs, record.addrs)
  for (const peer of [record, b.id, b.addrs(), b.info(), b.info().addrs[0]]) {
    const stream = await a.openStream(peer, '/x/1', patience())
    stream.end('hi')
    assert.equal(await text(stream), 'hi')
  }
  assert.equal(await (await a.viewOf(record, patience())).count(), 2)
  assert.equal(await a.connect(record, patience()), b.id)
  await assert.rejects(a.openStream(Key.generate().peer, '/x/1'), refused('NotFound'))
  await assert.rejects(a.openStream(b.id, '/nobody'), refused('Protocol'))
  await assert.rejects(a.openStream(b.id, '/casm/x'), refused('Config'))
  await assert.rejects(a.openStream(b.id, 5), { code: 'ERR_INVALID_ARG_TYPE' })
  await assert.rejects(a.openStream(5, '/x/1'), { code: 'ERR_INVALID_ARG_TYPE' })
  assert.throws(() => b.onStream('/x/1', () => {}), refused('Busy'))
  assert.throws(() => b.onStream('/y/1'), { code: 'ERR_INVALID_ARG_TYPE' })
  served.cancel()
  await until(() => a.openStream(b.id, '/x/1').then(stream => void stream.destroy(), refused('Protocol')))
  await Promise.all([a.close(), b.close()])
})

test('a stream that is destroyed is reset, and a handler that fails destroys it', async () => {
  const [a, b] = await cluster(2)
  const seen = []
  b.onStream('/x/1', async stream => seen.push(await buffer(stream).catch(error => error.code)))
  const stream = await a.openStream(b.id, '/x/1', patience())
  stream.write('half')
  stream.destroy()
  await until(() => seen.length === 1)
  assert.deepEqual(seen, ['Unreachable'])

  for (const fails of [() => { throw new Error('on purpose') }, async () => { throw new Error('on purpose') }]) {
    const told = []
    const { error } = console
    console.error = (...said) => told.push(said.join(' '))
    try {
      const served = b.onStream('/z/1', fails)
      const stream = await a.openStream(b.id, '/z/1', patience())
      // Nobody listens to its error, which ends no program.
      stream.resume()
      await until(() => stream.destroyed && served.failed === 1)
      assert.match(told.join(), /on purpose/)
      served.cancel()
      await until(() => a.openStream(b.id, '/z/1').then(stream => void stream.destroy(), refused('Protocol')))
    } finally {
      console.error = error
    }
  }
  await Promise.all([a.close(), b.close()])
})

test('who writes waits for who reads', async () => {
  const [a, b] = await cluster(2)
  let there
  b.onStream('/x/1', stream => (there = stream.pause()))
  const stream = await a.openStream(b.id, '/x/1', patience())
  let written = 0
  const writing = (async () => {
    for (let n = 0; n < 100; n++) {
      if (!stream.write(Buffer.alloc(50_000))) await once(stream, 'drain')
      written++
    }
    stream.end()
  })()
  await until(() => there && written > 3)
  await new Promise(resolve => setTimeout(resolve, 100))
  assert.ok(written < 50, `${written}`)
  assert.equal((await buffer(there)).length, 5_000_000)
  await writing
  await Promise.all([a.close(), b.close()])
})

test('a closed node has no streams', async () => {
  const [a, b] = await cluster(2)
  b.onStream('/x/1', () => {})
  const stream = await a.openStream(b.id, '/x/1', patience())
  const ended = buffer(stream).catch(error => error.code)
  await b.close()
  assert.equal(await ended, 'Unreachable')
  assert.throws(() => b.onStream('/y/1', () => {}), refused('Closed'))
  await a.close()
  await assert.rejects(a.openStream(b.id, '/x/1'), refused('Closed'))
  await stream.close()
  const alone = await Node.start(options())
  await assert.rejects(alone.openStream(alone.id, '/x/1'), refused('Invalid'))
  await alone.close()
})

test('a read that waits keeps the program alive, and an exit ends it', async () => {
  const { code, out, err } = await run(`
    const [a, b] = await cluster(2)
    b.onStream('/x/1', stream => { setTimeout(() => stream.end('late'), 200) })
    const stream = await a.openStream(b.id, '/x/1')
    stream.on('data', data => { console.log(String(data)); process.exit() })
  `)
  assert.deepEqual([code, out], [0, 'late\n'], err)
})
