import { isIP } from 'node:net'
import { Endpoint, Network, Node } from '../../api/index.ts'
import { Conflict, InvalidInput } from '../../base/index.ts'
import type { AdmissionRequest, SyncReader } from '../../store/index.ts'
import { contains } from '../addresses/address-range.ts'
import { formatCidr, parseAddress } from '../addresses/ip-address.ts'
import { subnetSpaces } from '../addresses/subnet-space.ts'
import { endpointTitle } from './network-users.ts'

/**
 * Where pods are known by the address of their primary interface, as on Kubernetes: networks that may serve as one do
 * not overlap, not even in different VLANs. Throws Conflict or InvalidInput for a network that would.
 */
export function admitPrimarySubnets({ verb, kind, object }: AdmissionRequest, reader: SyncReader): void {
  if (kind.kind !== Network.kind || verb === 'delete' || object.metadata.deletionTimestamp) return
  const network = object as Network
  if (network.spec.plane === 'pods') checkNodeAddresses(network, reader)
  if (network.spec.isSecondary) return checkSecondary(network, reader)
  for (const other of reader.list(Network)) {
    if (other.metadata.name === network.metadata.name || other.spec.isSecondary) continue
    if (other.spec.plane === network.spec.plane) checkDisjoint(network, other)
  }
}

/** A node routes to the pods of every network; its fellow nodes must not be among the addresses that pods get. */
function checkNodeAddresses(network: Network, reader: SyncReader): void {
  const spaces = subnetSpaces(network)
  for (const { metadata, status } of reader.list(Node)) {
    const text = /^\[?([^\]]+?)\]?:[0-9]+$/.exec(status?.agent?.address ?? '')?.[1]
    if (text === undefined || isIP(text) === 0) continue
    const { family, value } = parseAddress(text)
    if (!spaces.some((space) => space.family === family && contains(space.handOut, value))) continue
    throw new Conflict(
      `network ${network.metadata.name} would hand out ${text}, the address of node ${metadata.name}`,
      {
        remedy: 'Use another subnet, or ranges without the addresses of nodes.',
      },
    )
  }
}

function checkDisjoint(network: Network, other: Network): void {
  const { name } = network.metadata
  for (const { cidr } of subnetSpaces(network)) {
    for (const { cidr: theirs } of subnetSpaces(other)) {
      // the same wire: ranges, which other rules keep apart, decide
      const isShared = network.spec.vlan === other.spec.vlan && formatCidr(cidr) === formatCidr(theirs)
      if (isShared || cidr.family !== theirs.family || cidr.last < theirs.first || theirs.last < cidr.first) continue
      throw new Conflict(
        `subnet ${formatCidr(cidr)} of network ${name} overlaps ${formatCidr(theirs)} of network ${other.metadata.name}, ` +
          'and both may serve as the primary interface of pods',
        { remedy: 'Use another subnet, or set spec.isSecondary (dctl network create --secondary) of one of them.' },
      )
    }
  }
}

function checkSecondary(network: Network, reader: SyncReader): void {
  const { name } = network.metadata
  if (network.spec.isDefault) {
    throw new InvalidInput(`network ${name} cannot be the default and for further interfaces only`, {
      remedy: 'Set one of spec.isDefault and spec.isSecondary.',
    })
  }
  const isPrimary = ({ spec }: Endpoint): boolean =>
    spec.holder !== undefined && spec.holder.primaryInterface === undefined
  const user = reader.list(Endpoint, { fieldSelector: `spec.networkName=${name}` }).find(isPrimary)
  if (!user) return
  throw new Conflict(`network ${name} is the primary interface of endpoint ${endpointTitle(user)}`, {
    remedy: 'Stop the pods that have their first interface in it, or leave spec.isSecondary out.',
  })
}
