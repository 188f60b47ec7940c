// Readings of several sensors, each with a channel of its own, fanned into one.
//
//     node fan_in.js sensor cellar
//     node fan_in.js sensor attic
//     node fan_in.js collector 2
//
// A sensor hands its readings to whoever takes them, and closes its channel after
// the last. The collector takes from all at once, and ends when all have ended. The
// sensors may as well be those of Python's example.

import { CasmError, Node, select } from 'casm-p2p'

const SENSORS = 'meta:role=sensor'

async function sensor(name: string): Promise<void> {
  const node = await Node.start({ namespace: 'fan-in', meta: { role: 'sensor', name } })
  // With its owner a channel is gone: so this one stays after the last reading.
  node.ref()
  process.once('SIGINT', async () => {
    await node.close()
    process.exit()
  })
  const readings = node.channel('readings', { capacity: 8 })
  console.log(`sensor ${name} is ${node.id}`)
  for (let number = 0; number < 10; number++) await readings.send(Buffer.from(`${name} ${number}`))
  await readings.close()
}

async function collector(sensors: number): Promise<void> {
  await using node = await Node.start({ namespace: 'fan-in', meta: { role: 'collector' } })
  const view = await node.waitFor(sensors, { query: SENSORS })
  const channels = await Promise.all([...view.iter(SENSORS)].map(record => node.openChannel('readings', record.peer)))
  try {
    for (;;) {
      const { index, value } = await select(channels.map(channel => channel.receiving()))
      console.log(`${index}: ${Buffer.from(value!)}`)
    }
  } catch (error) {
    if ((error as CasmError).code !== 'Closed') throw error
    console.log('all sensors are done')
  }
}

const [role, value] = process.argv.slice(2)
if (role === 'sensor' && value) {
  await sensor(value)
} else if (role === 'collector' && Number(value) > 0) {
  await collector(Number(value))
} else {
  console.error('usage: node fan_in.js sensor NAME | collector NUMBER')
  process.exit(2)
}
