import { installPrograms } from '../../lab/kubernetes/places.ts'
import type { Lab } from '../../lab/index.ts'
import { freshLab } from '../network/fresh-lab.ts'
import type { Group, RunContext } from '../suite.ts'

/** The lab, and how long it took until all nodes were Ready. */
export interface KubernetesLab {
  lab: Lab
  readySeconds: number
}

/** Builds a lab of three nodes with Kubernetes and Carbonado; what is built or fetched only once is there before. */
export async function openKubernetesLab(context: RunContext): Promise<KubernetesLab> {
  await installPrograms()
  const begin = performance.now()
  const lab = await freshLab(null, context, 3, true)
  return { lab, readySeconds: (performance.now() - begin) / 1000 }
}

/** Removes the lab. */
export async function closeKubernetesLab({ lab }: KubernetesLab): Promise<void> {
  await lab.down()
}

const row = { name: 'Kubernetes of three nodes with Carbonado: Ready', unit: 's', target: { atMost: 40 } }

/** From nothing running to all nodes Ready, with the programs cached. */
export const labReadyGroup: Group<KubernetesLab> = {
  rows: [row],
  measure: ({ readySeconds }) => Promise.resolve({ [row.name]: { value: readySeconds } }),
}
