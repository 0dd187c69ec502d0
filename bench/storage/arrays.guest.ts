import { execFileSync } from 'node:child_process'
import { it } from 'vitest'
import { LvmThinFormat } from '../../src/storage/pools/index.ts'
import { arrayLoads, type ArrayRound } from './array-loads.ts'
import { fill, runFio } from './fio.ts'

const [rounds, seconds] = [11, 2]

it('a thin volume as it is, and another with an array of one leg above it', { timeout: 1_800_000 }, async () => {
  const format = new LvmThinFormat()
  const device = '/dev/nvme0n1'
  await format.unsupportedReason()
  execFileSync('modprobe', ['raid1'])
  await format.format(device, { id: 'bench' })
  const pool = await format.open(device)
  const [bare, leg] = await Promise.all(['bare', 'leg'].map(async (id) => {
    await pool.create({ id, size: 256 * 2 ** 20, sectorSize: 4096 })
    return (await pool.activate(id, { readOnly: false })).devicePath
  })) // prettier-ignore
  await fill(bare!)
  await fill(leg!)
  const array = '/dev/md/bench'
  const shape = ['--metadata=1.0', '--level=1', '--raid-devices=1', '--bitmap=none']
  execFileSync('mdadm', ['--create', array, '--run', '--force', ...shape, leg!], { stdio: 'pipe' })
  for (const [name, load] of Object.entries(arrayLoads)) {
    for (let round = 0; round < rounds; round++) {
      const iops = { bare: 0, array: 0 }
      const order = round % 2 === 0 ? (['bare', 'array'] as const) : (['array', 'bare'] as const)
      for (const which of order) {
        iops[which] = (await runFio(which === 'bare' ? bare! : array, { ...load, seconds })).iops
      }
      console.log(`MEASURED ${JSON.stringify({ name, ...iops } as ArrayRound)}`)
    }
  }
  execFileSync('mdadm', ['--stop', array], { stdio: 'pipe' })
  for (const id of ['bare', 'leg']) await pool.deactivate(id)
  await pool.close()
})
