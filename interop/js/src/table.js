/** The newest heartbeat of each peer; the higher sequence number counts. */
export class Table {
  #rows = new Map()

  /** Says what a heartbeat did: stale, joined, updated or renewed. */
  upsert (record, now) {
    const old = this.#rows.get(record.peer)
    if (old !== undefined && old.record.seq >= record.seq) return 'stale'
    this.#rows.set(record.peer, { record, deadline: now + record.ttlMs })
    if (old === undefined) return 'joined'
    return this.#says(old.record) === this.#says(record) ? 'renewed' : 'updated'
  }

  #says (r) { return JSON.stringify([r.ttlMs, String(r.server), r.host, r.meta]) }

  /** Takes out the records whose time has passed. */
  expire (now) {
    const gone = []
    for (const [peer, { record, deadline }] of this.#rows) {
      if (now > deadline) {
        this.#rows.delete(peer)
        gone.push(record)
      }
    }
    return gone
  }

  records () { return Array.from(this.#rows.values(), (row) => row.record) }
}

/** A record in the JSON of the program `casm`. */
export function recordFields ({ peer, server, seq, ttlMs, host, meta }) {
  const fields = {}
  for (const field of meta) {
    const at = field.indexOf('=')
    const key = at < 0 ? field : field.slice(0, at)
    if (!Object.hasOwn(fields, key)) fields[key] = at < 0 ? '' : field.slice(at + 1)
  }
  return { peer, server: server.toString(16).padStart(16, '0'), seq: seq.toString(), ttl_ms: ttlMs, host, meta: fields }
}
