import './own-lab.ts'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { buildSanity, runSanity } from '../support/csi-sanity.ts'
import { expectNoVolumes } from '../support/volume-storm.ts'

let lab: Lab

beforeAll(async () => {
  await buildSanity()
  await takeLabDown()
  lab = await Lab.up({ nodes: 1, driveSize: 3 * 2 ** 30 })
  await lab.dctl(['drive', 'format', 'n1.drive0', '-y'], { deadline: 60_000 })
}, 600_000)
afterAll(() => lab.down())

/** The health calls of a later version of CSI, which replace the volume condition that is served here. */
const laterVersion = /Health/
/** Snapshots are where their volume is. The limit of a node takes 257 volumes: controller-services.test.ts. */
const notAsked = [/SNAPSHOT_ACCESSIBILITY_CONSTRAINTS not supported/, /testnodevolumeattachlimit not enabled/]

/** With block devices: test/long/csi.test.ts. */
it('csi-sanity passes with mounted volumes and leaves nothing', async () => {
  const { passed, failures, skips, pending } = await runSanity(lab, 'n1', 'mount')
  expect(failures).toEqual([])
  expect(passed).toBeGreaterThanOrEqual(94)
  const unexplained = skips.filter(
    ({ name, reason }) => !laterVersion.test(name) && !notAsked.some((expected) => expected.test(reason)),
  )
  expect(unexplained).toEqual([])
  expect(pending, 'of csi-sanity itself').toBe(1)
  await expectNoVolumes(lab)
})
