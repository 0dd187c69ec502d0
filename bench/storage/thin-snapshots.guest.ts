import { execFileSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { it } from 'vitest'
import { LvmThinFormat } from '../../src/storage/pools/index.ts'
import { fill, runFio } from './fio.ts'

const size = 512 * 2 ** 20
const load = { pattern: 'randwrite', blockBytes: 4096, depth: 32 } as const

const [rounds, seconds] = [5, 12]

it('snapshots of a thin volume that is written all the time', { timeout: 1_800_000 }, async () => {
  const format = new LvmThinFormat()
  const device = '/dev/nvme0n1'
  await format.unsupportedReason()
  execFileSync('blkdiscard', ['--force', device])
  await format.format(device, { id: 'bench' })
  const pool = await format.open(device)
  await pool.create({ id: 'volume', size, sectorSize: 4096 })
  const { devicePath } = await pool.activate('volume', { readOnly: false })
  await fill(devicePath)
  await runFio(devicePath, { ...load, seconds: 4 * seconds })
  for (let round = 0; round < rounds; round++) {
    const costs: { pause: number; took: number }[] = []
    for (const id of ['first', 'second', 'third']) {
      const writing = runFio(devicePath, { ...load, seconds })
      await sleep(2000)
      const begin = performance.now()
      await pool.snapshot([{ id, volumeId: 'volume' }])
      const took = performance.now() - begin
      costs.push({ pause: (await writing).latency.longest, took })
    }
    console.log(`MEASURED ${JSON.stringify(costs)}`)
    for (const { id, kind } of await pool.list()) if (kind === 'snapshot') await pool.delete(id)
  }
  await pool.deactivate('volume')
  await pool.close()
})
