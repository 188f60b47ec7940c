// Jobs that are done whatever becomes of the workers.
//
//     node jobs.js boss 100
//     node jobs.js worker
//     node jobs.js worker
//
// The boss owns a channel of jobs and one of results. Workers come and go, and take
// jobs: one that is killed, or stopped, loses none, since what it has not done goes
// back to the channel. So a job may be done twice, and a result come twice. The
// workers may as well be those of Python's example, and the boss too.

import { setTimeout as sleep } from 'node:timers/promises'
import { CasmError, Node } from 'casm-p2p'

const BOSS = 'meta:role=boss'

async function boss(count: number): Promise<void> {
  await using node = await Node.start({ namespace: 'jobs', meta: { role: 'boss' } })
  const jobs = node.channel('jobs', { capacity: 10 })
  const results = node.channel('results', { capacity: 10 })
  console.log(`boss is ${node.id}`)
  const submit = async () => {
    for (let number = 0; number < count; number++) await jobs.send(Buffer.from(`${number}`))
    await jobs.close()
  }
  const collect = async () => {
    const done = new Map<number, number>()
    while (done.size < count) {
      const { number, square } = JSON.parse(`${Buffer.from(await results.recv())}`)
      if (done.has(number)) continue
      done.set(number, square)
      console.log(`${number}² = ${square}`)
    }
  }
  await Promise.all([submit(), collect()])
  console.log(`all ${count} are done`)
}

async function worker(): Promise<void> {
  await using node = await Node.start({ namespace: 'jobs', meta: { role: 'worker' } })
  const found = (await node.waitFor(1, { query: BOSS })).lookup(BOSS)!
  const jobs = await node.openChannel('jobs', found.peer)
  const results = await node.openChannel('results', found.peer)
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
    // Closed: all are done. Unreachable: the boss has gone.
    const { code } = error as CasmError
    if (code !== 'Closed' && code !== 'Unreachable') throw error
    console.log('no more jobs')
  }
}

const [role, value] = process.argv.slice(2)
if (role === 'boss' && Number(value) > 0) {
  await boss(Number(value))
} else if (role === 'worker') {
  await worker()
} else {
  console.error('usage: node jobs.js boss NUMBER | worker')
  process.exit(2)
}
