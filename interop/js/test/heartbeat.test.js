import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { pack, unpack } from '../src/capnp.js'
import { decodeHeartbeat, encodeHeartbeat } from '../src/heartbeat.js'

const heartbeat = { ttlMs: 2500, server: 0xfedcba9876543210n, host: 'höst', meta: ['role=worker', 'zone=a=b', 'empty='] }

test('a heartbeat survives a trip', () => {
  assert.deepEqual(decodeHeartbeat(encodeHeartbeat(heartbeat)), heartbeat)
  assert.equal(decodeHeartbeat(encodeHeartbeat({ ...heartbeat, ttlMs: 0 })).ttlMs, 10_000)
})

test('packing is undone by unpacking', () => {
  for (const bytes of [
    new Uint8Array(8 * 600), Uint8Array.from({ length: 80 }, (_, i) => i + 1),
    Uint8Array.from({ length: 160 }, (_, i) => i % 24 < 16 ? 0 : i)
  ]) assert.deepEqual(unpack(pack(bytes)), bytes)
})

test('what is cut off or changed is refused, or read as something else, and never hangs', () => {
  const data = encodeHeartbeat(heartbeat)
  for (let i = 0; i < data.length; i++) assert.throws(() => decodeHeartbeat(data.subarray(0, i)))
  for (let i = 0; i < data.length; i++) {
    for (let bit = 0; bit < 8; bit++) {
      const broken = Uint8Array.from(data)
      broken[i] ^= 1 << bit
      try { decodeHeartbeat(broken) } catch (error) { assert.ok(error instanceof Error) }
    }
  }
  assert.throws(() => decodeHeartbeat(new Uint8Array(500_000).map((_, i) => i % 2 === 0 ? 0 : 255)), /longer than/)
})

test('golden heartbeats are read', (t) => {
  const dir = process.env.CASM_GOLDEN
  if (dir === undefined) return t.skip('CASM_GOLDEN is not set: the golden files are not checked')
  const rows = JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8')).filter((row) => row.kind.startsWith('heartbeat'))
  assert.equal(rows.length, 2)
  for (const row of rows) {
    const data = readFileSync(join(dir, row.file))
    const want = { ttlMs: row.ttl_ms, server: BigInt('0x' + row.server), host: row.host, meta: row.meta }
    assert.deepEqual(decodeHeartbeat(data), want)
    assert.deepEqual(decodeHeartbeat(encodeHeartbeat(want)), want)
  }
})

test('the vectors of the specification are read and written', () => {
  const file = JSON.parse(readFileSync(new URL('../../../docs/spec/vectors/heartbeat.json', import.meta.url), 'utf8'))
  assert.ok(file.heartbeats.length > 5 && file.refused.length > 5)
  for (const row of file.heartbeats) {
    const want = {
      ttlMs: row.sent_ttl_ms || 10_000, server: BigInt('0x' + row.server), host: row.host, meta: row.meta
    }
    const data = Buffer.from(row.hex, 'hex')
    assert.deepEqual(decodeHeartbeat(data), want, row.name)
    // One message can be packed in several ways.
    if (row.go) assert.deepEqual(unpack(encodeHeartbeat(want)), unpack(data), row.name)
  }
  for (const row of file.refused.filter((row) => row.verdict === 'reject')) {
    const read = () => decodeHeartbeat(Buffer.from(row.hex, 'hex'))
    // Like Go's nodes, this one reads past the fields that are new.
    if (row.extension) read()
    else assert.throws(read, Error, row.name)
  }
})
