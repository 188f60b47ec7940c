import { Builder, Reader, pack, unpack } from './capnp.js'

const DEFAULT_TTL_MS = 10_000

/** Makes the data of a pubsub message. `server` is a BigInt. */
export function encodeHeartbeat ({ ttlMs, server, host, meta }) {
  const builder = new Builder()
  const root = builder.struct(builder.allocate(1), 2, 2)
  builder.set(root, BigInt(ttlMs))
  builder.set(root + 1, server)
  builder.text(root + 2, host)
  builder.texts(root + 3, meta)
  return pack(builder.finish())
}

/** Reads the data of a pubsub message; throws if it is malformed. */
export function decodeHeartbeat (data) {
  const reader = new Reader(unpack(data))
  const { data: at, pointers, dataWords, pointerCount } = reader.struct(0)
  const word = (i) => i < dataWords ? reader.view.getBigUint64((at + i) * 8, true) : 0n
  return {
    ttlMs: Number(word(0) & 0xffffffffn) || DEFAULT_TTL_MS,
    server: word(1),
    host: pointerCount > 0 ? reader.text(pointers) : '',
    meta: pointerCount > 1 ? reader.texts(pointers + 1) : []
  }
}
