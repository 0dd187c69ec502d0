import { stage, type Suite } from '../suite.ts'
import { agentIdleGroup } from './agent-idle.ts'
import { agentRestartGroup } from './agent-restart.ts'
import { allFloorsGroup } from './all-floors-group.ts'
import { claimsGroup } from './claims-group.ts'
import { cniInterfacesGroup } from './cni-interfaces.ts'
import { cniLatencyGroup } from './cni-latency.ts'
import { removeLab } from './fresh-lab.ts'
import { floorGroup } from './floor-group.ts'
import { closeGigabitLab, openGigabitLab } from './gigabit-lab.ts'
import { largeClusterGroup } from './large-cluster-group.ts'
import { manyEndpointsGroup } from './many-endpoints.ts'
import { receiveFloorGroup } from './receive-floor-group.ts'
import { runningContainersGroup } from './running-containers.ts'
import { rawPathGroup } from './raw-path.ts'
import { closeUnlimitedLab, openUnlimitedLab } from './unlimited-lab.ts'

/** The benchmarks of networks. */
export const networkSuite: Suite = {
  name: 'network',
  stages: [
    stage({
      name: 'lab with unlimited links',
      open: openUnlimitedLab,
      close: closeUnlimitedLab,
      groups: [rawPathGroup, cniLatencyGroup, cniInterfacesGroup, manyEndpointsGroup, runningContainersGroup],
    }),
    stage({ name: 'no lab', open: async () => {}, close: async () => {}, groups: [claimsGroup, largeClusterGroup] }),
    stage({
      name: 'lab with links of 1 Gbit/s',
      open: openGigabitLab,
      close: closeGigabitLab,
      groups: [floorGroup, receiveFloorGroup, allFloorsGroup, agentIdleGroup, agentRestartGroup],
    }),
  ],
  cleanUp: removeLab,
}
