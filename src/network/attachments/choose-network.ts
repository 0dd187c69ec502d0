import type { Network } from '../../api/index.ts'
import { NotFound } from '../../base/index.ts'

/**
 * The network of a container that names none: the one of the group with most free addresses, the default network without
 * a group. Throws NotFound. What others take meanwhile can make the choice second best, never wrong: control decides.
 */
export function chooseNetwork(networks: Network[], group: string | undefined): string {
  const isLeaving = (network: Network): boolean => network.metadata.deletionTimestamp !== undefined
  const candidates = networks.filter((network) => !isLeaving(network) && isWanted(network, group))
  const [best] = candidates.sort((one, other) => freeAddresses(other) - freeAddresses(one))
  if (best) return best.metadata.name
  if (group !== undefined) {
    throw new NotFound(`no network belongs to the network group ${group}`, {
      remedy: `Look at the groups with \`dctl network list\`, or add a network: dctl network update NAME -n ${group}.`,
    })
  }
  throw new NotFound('the container names no network and there is no default network', {
    remedy: `Name one in the annotation carbonado.io/endpoint0, or make one the default: dctl network update NAME --set-default.`,
  })
}

function isWanted({ spec }: Network, group: string | undefined): boolean {
  return group === undefined ? spec.isDefault : spec.networkGroup === group
}

/** A network that control has not counted yet is a new one. */
function freeAddresses({ status }: Network): number {
  return status?.usage ? status.usage.total - status.usage.used : Number.MAX_SAFE_INTEGER
}
