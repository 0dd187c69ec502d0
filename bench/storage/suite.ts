import { stage, type Suite } from '../suite.ts'
import { arrayGroup } from './array-group.ts'
import { removeLab } from '../network/fresh-lab.ts'
import { floorGroup } from './floor-group.ts'
import { closePacedLab, openPacedLab } from './paced-lab.ts'
import { csiGroup, openCsiLab } from './csi-group.ts'
import { closeRawPath, openRawPath, rawPathGroup } from './raw-path-group.ts'
import { removeScratch } from './scratch-pool.ts'
import { closeAgeingPool, openAgeingPool, snapshotGroup } from './snapshot-group.ts'
import { thinSnapshotGroup } from './thin-snapshot-group.ts'

/** The benchmarks of volumes. */
export const storageSuite: Suite = {
  name: 'storage',
  stages: [
    stage({ name: 'a pool of files', open: openRawPath, close: closeRawPath, groups: [rawPathGroup] }),
    stage({
      name: 'a pool of files that ages',
      open: openAgeingPool,
      close: closeAgeingPool,
      groups: [snapshotGroup],
    }),
    stage({ name: 'no pool', open: async () => {}, close: async () => {}, groups: [thinSnapshotGroup, arrayGroup] }),
    stage({ name: 'a drive of a known speed', open: openPacedLab, close: closePacedLab, groups: [floorGroup] }),
    stage({ name: 'volumes of orchestrators', open: openCsiLab, close: (lab) => lab.down(), groups: [csiGroup] }),
  ],
  async cleanUp() {
    await removeScratch()
    await removeLab()
  },
}
