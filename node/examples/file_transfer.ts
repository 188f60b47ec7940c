// Sends a file over a stream, and goes on where it stopped when it breaks.
//
//     node file_transfer.js send FILE
//     node file_transfer.js fetch COPY
//
// The protocol: the receiver says from which byte on it wants the file, in eight bytes,
// big-endian. The sender says in eight more how long the file is, and sends the rest of
// it. So the receiver knows an end from a break. It is that of the examples in Rust and
// Python.

import { createReadStream } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { Node, type ByteStream, type Record } from 'casm-p2p'

const PROTOCOL = '/example/file/1'
const SENDER = 'meta:role=sender'
/** A sender that says nothing for so long is given up. */
const PATIENCE = 10_000

function bytes(number: number): Buffer {
  const eight = Buffer.alloc(8)
  eight.writeBigUInt64BE(BigInt(number))
  return eight
}

async function send(path: string): Promise<void> {
  const node = (await Node.start({ namespace: 'files', meta: { role: 'sender' } })).ref()
  process.once('SIGINT', async () => {
    await node.close()
    process.exit()
  })
  node.onStream(PROTOCOL, async (stream, peer) => {
    let asked = Buffer.alloc(0)
    // There is an answer to write.
    for await (const piece of stream.iterator({ destroyOnReturn: false })) {
      asked = Buffer.concat([asked, piece])
      if (asked.length >= 8) break
    }
    const start = Number(asked.readBigUInt64BE())
    stream.write(bytes((await stat(path)).size))
    await pipeline(createReadStream(path, { start }), stream)
    console.log(`${peer} has it from ${start} on`)
  })
  console.log(`sender ${node.id}`)
}

async function fetch(path: string): Promise<void> {
  await using node = await Node.start({ namespace: 'files' })
  for (;;) {
    const view = await node.waitFor(1, { query: SENDER })
    for (const sender of view.iter(SENDER)) {
      try {
        if (await fetchFrom(node, sender, path)) return
      } catch (error) {
        // It may have gone, and its record be there still.
        console.log(`not from ${sender.peer}: ${error}`)
      }
    }
    await sleep(200)
  }
}

/** Fetches what is missing, and says whether that was all. */
async function fetchFrom(node: Node, sender: Record, path: string): Promise<boolean> {
  const file = await open(path, 'a')
  let stream: ByteStream | undefined
  let have = (await file.stat()).size
  let length: number | undefined
  try {
    stream = await node.openStream(sender, PROTOCOL, { signal: AbortSignal.timeout(PATIENCE) })
    stream.end(bytes(have))
    let head = Buffer.alloc(0)
    let patience: NodeJS.Timeout | undefined
    const wait = () => {
      clearTimeout(patience)
      patience = setTimeout(() => stream!.destroy(), PATIENCE)
    }
    try {
      wait()
      for await (let piece of stream) {
        wait()
        if (length === undefined) {
          head = Buffer.concat([head, piece])
          if (head.length < 8) continue
          length = Number(head.readBigUInt64BE())
          piece = head.subarray(8)
          console.log(`${have} of ${length} bytes are there`)
        }
        await file.write(piece)
        have += piece.length
      }
    } catch (error) {
      // Over some transports a break looks as an end does.
      if (length === undefined) throw error
    } finally {
      clearTimeout(patience)
    }
  } finally {
    stream?.destroy()
    await file.close()
  }
  if (length === undefined) throw new Error('it ended early')
  const all = have >= length
  console.log(all ? `all ${have} bytes are there` : `it broke after ${have} bytes`)
  return all
}

const [role, path] = process.argv.slice(2)
if (role === 'send' && path) {
  await send(path)
} else if (role === 'fetch' && path) {
  await fetch(path)
} else {
  console.error('usage: node file_transfer.js send FILE | fetch COPY')
  process.exit(2)
}
