import './own-lab.ts'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { CsiClient } from '../../lab/csi-client.ts'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { Drive } from '../../src/api/index.ts'
import { fuzzCsi } from '../support/csi-fuzz.ts'
import { buildSanity, runSanity } from '../support/csi-sanity.ts'
import { csiStorm } from '../support/csi-storm.ts'
import { expectNoVolumes } from '../support/volume-storm.ts'

let lab: Lab

beforeAll(async () => {
  await buildSanity()
  await takeLabDown()
  lab = await Lab.up({ nodes: 2 })
  await vi.waitFor(() => lab.store.get(Drive, { name: 'n2.drive0' }), { timeout: 60_000 })
  await lab.dctl(['drive', 'format', 'n1.drive0', '-y'], { deadline: 60_000 })
}, 600_000)
afterAll(() => lab?.down())

/** While only this node has a pool: csi-sanity does not say where its volumes are to be, and uses them here. */
it('csi-sanity passes with block volumes and leaves nothing', async () => {
  const { passed, failures } = await runSanity(lab, 'n1', 'block')
  expect(failures).toEqual([])
  expect(passed).toBeGreaterThanOrEqual(95)
  await expectNoVolumes(lab)
})

describe('with a pool on each node', () => {
  beforeAll(async () => {
    await lab.dctl(['drive', 'format', 'n2.drive0', '-y'], { deadline: 60_000 })
  })

  it('20 000 hostile CSI messages are answered, and the agent serves as before', async () => {
    using csi = new CsiClient('n1')
    expect((await fuzzCsi(csi, lab, 'n1', 20_000)).codes).not.toContain('UNKNOWN')
    expect(await csi.call('Probe', {})).toEqual({ ready: { value: true } })
    await expectNoVolumes(lab)
  })

  it('200 agents and controls killed while volumes come and go over CSI: no write is lost, nothing is left', async () => {
    expect(await csiStorm(lab, { workers: 6, kills: 200 })).toBeGreaterThanOrEqual(200)
  })
})
