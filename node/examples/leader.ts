// One of several programs leads, and another takes over when it can't.
//
//     node leader.js keeper
//     node leader.js candidate
//     node leader.js candidate
//
// The keeper owns a semaphore that one may hold. Who holds it leads, until it gives
// the lease back, dies, is stopped (try `kill -STOP`), or loses the keeper. What a
// leader does should carry its token: one that was stopped and goes on does not
// know yet that another leads.

import { Node } from 'casm-p2p'

const KEEPER = 'meta:role=keeper'

async function keeper(): Promise<void> {
  const node = await Node.start({ namespace: 'leader', meta: { role: 'keeper' } })
  node.ref()
  await node.semaphore('leader', 1)
  console.log(`keeper ${node.id}`)
}

async function candidate(): Promise<void> {
  const node = await Node.start({ namespace: 'leader', meta: { role: 'candidate' } })
  const found = (await node.waitFor(1, { query: KEEPER })).lookup(KEEPER)!
  const leader = await node.openSemaphore('leader', found.peer)
  for (;;) {
    console.log('I follow')
    using lease = await leader.acquire()
    console.log(`I lead with token ${lease.token}`)
    await lease.waitLost()
    console.log('I lead no longer')
  }
}

const role = { keeper, candidate }[process.argv[2] ?? '']
if (!role) {
  console.error('usage: node leader.js keeper|candidate')
  process.exit(2)
}
await role()
