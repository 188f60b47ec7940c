// Jobs, and a pool of workers that grows and shrinks with them.
//
//     node worker_pool.js boss 1000
//     node worker_pool.js pool 8
//     node worker_pool.js worker
//
// The boss owns a channel of jobs and one of results, and says in its record how many
// jobs wait. A pool starts workers while there are more of them than its workers keep up
// with, and ends workers when there are fewer; a worker may as well be started by hand.
// One that is killed, or stopped, loses no job: what it has not done goes back to the
// channel. So a job may be done twice, and a result come twice.
//
// The boss, the pool and the workers may as well be those of Python's example.

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { CasmError, Node } from 'casm-p2p'

const BOSS = 'meta:role=boss'
/** Jobs that may wait for each worker of a pool. */
const EACH = 10

/** A member, which leaves when the program is interrupted. */
async function member(meta: { [key: string]: string }): Promise<Node> {
  const node = await Node.start({ namespace: 'jobs', meta })
  process.once('SIGINT', async () => {
    await node.close()
    process.exit()
  })
  return node
}

async function boss(count: number): Promise<void> {
  // It goes on when all are done: the pool shrinks meanwhile.
  const node = (await member({ role: 'boss', waiting: '0' })).ref()
  const jobs = node.channel('jobs', { capacity: 100 })
  const results = node.channel('results', { capacity: 10 })
  console.log(`boss is ${node.id}`)
  const submit = async () => {
    for (let number = 0; number < count; number++) await jobs.send(Buffer.from(`${number}`))
  }
  const tell = async () => {
    while (!node.closed) {
      await node.updateMeta({ waiting: `${jobs.waiting}` })
      await sleep(500)
    }
  }
  const collect = async () => {
    const done = new Set<number>()
    while (done.size < count) {
      const { number, square } = JSON.parse(`${Buffer.from(await results.recv())}`)
      if (done.has(number)) continue
      done.add(number)
      console.log(`${number}² = ${square}`)
    }
    console.log(`all ${count} are done`)
  }
  await Promise.all([submit(), tell(), collect()])
}

async function pool(most: number): Promise<void> {
  const node = await member({ role: 'pool' })
  const workers: ChildProcess[] = []
  const end = async (worker: ChildProcess) => {
    if (worker.exitCode !== null || worker.signalCode !== null) return
    worker.kill('SIGINT')
    await once(worker, 'exit')
  }
  for await (const change of node.subscribe(BOSS)) {
    if (change.kind === 'left') break
    if (change.kind === 'dropped') continue
    const waiting = Number(change.record.meta['waiting'])
    const wanted = Math.max(1, Math.min(most, Math.floor(waiting / EACH)))
    // It gives back what it has.
    while (workers.length > wanted) await end(workers.pop()!)
    while (workers.length < wanted) {
      const worker = spawn(process.execPath, [process.argv[1]!, 'worker'], { stdio: 'inherit' })
      // One that was killed is started again.
      worker.once('exit', () => {
        const at = workers.indexOf(worker)
        if (at >= 0) workers.splice(at, 1)
      })
      workers.push(worker)
    }
    console.log(`${waiting} jobs wait for ${workers.length} workers`)
  }
  await Promise.all(workers.map(end))
  await node.close()
}

async function worker(): Promise<void> {
  const node = await member({ role: 'worker' })
  const record = (await node.waitFor(1, { query: BOSS })).lookup(BOSS)!
  const jobs = await node.openChannel('jobs', record)
  const results = await node.openChannel('results', record)
  console.log(`worker ${node.id}`)
  try {
    for (;;) {
      await using job = await jobs.take()
      const number = Number(Buffer.from(job.data))
      console.log(`at ${number}`)
      await sleep(20)
      await results.send(Buffer.from(JSON.stringify({ number, square: number ** 2 })))
      // It may have gone back, with the connection: then it is done again.
      await job.done().catch((error: CasmError) => {
        if (error.code !== 'NotFound') throw error
      })
    }
  } catch (error) {
    // The boss has gone, or this one was interrupted.
    const { code } = error as CasmError
    if (code !== 'Closed' && code !== 'Unreachable') throw error
    console.log('no more jobs')
  }
  await node.close()
}

const [role, value] = process.argv.slice(2)
if (role === 'boss' && Number(value) > 0) {
  await boss(Number(value))
} else if (role === 'pool' && Number(value) > 0) {
  await pool(Number(value))
} else if (role === 'worker') {
  await worker()
} else {
  console.error('usage: node worker_pool.js boss NUMBER | pool NUMBER | worker')
  process.exit(2)
}
