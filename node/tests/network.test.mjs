// Machines whose network lacks something: a node starts there too, soon.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { noNetworks, run } from './helpers.mjs'

const LOOPBACK = 'ip link set lo up'
const NO_IPV6 = 'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6'

const skip = noNetworks()

/** The addresses of a node in a network of its own, which these commands make of one with nothing up. */
async function addrs(network) {
  const program = `
    const node = await Node.start({ namespace: 'test' })
    console.log(JSON.stringify(node.addrs()))
    await node.close()`
  const within = ['unshare', '--net', 'sh', '-c', `${network} && exec "$@"`, 'sh']
  const done = await run(program, { within })
  assert.deepEqual([done.code, done.signal], [0, null], JSON.stringify(done))
  return JSON.parse(done.out)
}

test('a node starts where IPv6 is switched off', { skip }, async () => {
  const found = await addrs(`${LOOPBACK} && ${NO_IPV6}`)
  assert(found.length > 0 && found.every(addr => addr.startsWith('/ip4/127.0.0.1/')), `${found}`)
})

for (const [what, network] of [['with', 'true'], ['without', NO_IPV6]]) {
  test(`a node starts where not even loopback is up, ${what} IPv6`, { skip }, async () => {
    assert.deepEqual(await addrs(network), [])
  })
}
