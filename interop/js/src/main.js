// Writes one JSON object per line to stdout, and takes commands, one JSON
// object per line, from stdin; the end of the input is a clean leave.
import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { Node } from './node.js'
import { recordFields } from './table.js'

function emit (event, fields) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + '\n')
}

/** Milliseconds of a duration such as 500ms, 10s or 5m. */
function milliseconds (text) {
  const parts = /^(\d+(?:\.\d+)?)(ms|s|m)$/.exec(text)
  if (parts === null) throw new Error(`duration ${text}: write one such as 500ms, 10s or 5m`)
  return Number(parts[1]) * { ms: 1, s: 1000, m: 60_000 }[parts[2]]
}

function parseOptions () {
  const { values } = parseArgs({
    options: {
      ns: { type: 'string', default: 'casm' },
      listen: { type: 'string', multiple: true, default: ['/ip4/127.0.0.1/tcp/0'] },
      connect: { type: 'string', multiple: true, default: [] },
      host: { type: 'string', default: hostname() },
      meta: { type: 'string', multiple: true, default: [] },
      ttl: { type: 'string', default: '10s' },
      key: { type: 'string' },
      secret: { type: 'string' },
      security: { type: 'string' },
      nat: { type: 'boolean', default: false },
      via: { type: 'string', multiple: true, default: [] },
      observer: { type: 'boolean', default: false },
      lazy: { type: 'boolean', default: false }
    }
  })
  return { ...values, ttlMs: milliseconds(values.ttl), server: randomBytes(8).readBigUInt64BE() }
}

const commands = {
  connect: async (node, { addr }) => ({ peer: await node.connect(addr) }),
  ping: async (node, { peer }) => ({ peer, rtt_ms: await node.ping(peer) }),
  view: (node) => ({ n: node.records.length, records: node.records.map(recordFields) }),
  peers: (node) => ({ peers: node.connections() }),
  stats: (node) => node.mesh(),
  stream: (node, { addr, protocol, bytes }) => node.openStream(addr, protocol, bytes),
  join: (node, { topic }) => node.join(topic),
  say: (node, { topic, text }) => node.say(topic, text),
  update: (node, { host, meta, ttl }) => {
    const change = {}
    if (host !== undefined) change.host = host
    if (meta !== undefined) change.meta = meta
    if (ttl !== undefined) change.ttlMs = milliseconds(ttl)
    node.update(change)
  }
}

async function run (node, line) {
  let command = {}
  try {
    command = JSON.parse(line)
    const run = commands[command.cmd]
    if (run === undefined) throw new Error(`there is no command ${command.cmd}`)
    emit('reply', { cmd: command.cmd, id: command.id, ...await run(node, command) })
  } catch (error) {
    emit('error', { cmd: command.cmd, id: command.id, kind: 'Protocol', message: error.message })
  }
}

const options = parseOptions()
const node = await Node.start(options, emit)
async function leave () {
  await node.leave()
  process.exit(0)
}
process.once('SIGINT', leave)
process.once('SIGTERM', leave)
for (const addr of options.connect) await run(node, JSON.stringify({ cmd: 'connect', addr }))
const running = new Set()
for await (const line of createInterface({ input: process.stdin })) {
  const task = run(node, line).finally(() => running.delete(task))
  running.add(task)
}
await Promise.all(running)
await leave()
