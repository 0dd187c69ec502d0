import { removeLab } from '../network/fresh-lab.ts'
import { stage, type Suite } from '../suite.ts'
import { controlMemoryGroup } from './control-memory-group.ts'
import { extenderGroup } from './extender-group.ts'
import { claimsGroup } from './claims-group.ts'
import { closeKubernetesLab, labReadyGroup, openKubernetesLab } from './kubernetes-lab.ts'
import { podsGroup } from './pods-group.ts'

/** The benchmarks of Carbonado on Kubernetes. */
export const kubernetesSuite: Suite = {
  name: 'kubernetes',
  stages: [
    stage({ name: 'no lab', open: async () => {}, close: async () => {}, groups: [extenderGroup, controlMemoryGroup] }),
    stage({
      name: 'lab with Kubernetes',
      open: openKubernetesLab,
      close: closeKubernetesLab,
      groups: [labReadyGroup, claimsGroup, podsGroup],
    }),
  ],
  cleanUp: removeLab,
}
