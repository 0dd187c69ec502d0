import { Endpoint, parseQuantity, type Node } from '../../api/index.ts'
import { InvalidInput } from '../../base/index.ts'
import { inUse, type SyncReader } from '../../store/index.ts'
import { endpointTitle } from './network-users.ts'

/** Slower links than this (bits per second) are a typing mistake: 10 instead of 10G. */
const slowestLink = 1_000_000

/**
 * Checks the uplinks of a node: a sensible rate, bond members that are other interfaces, each once, and tags of planes
 * that tell them apart.
 */
export function admitNode({ metadata, spec }: Node): void {
  checkVlans(metadata.name, spec.uplinks)
  const members = new Map<string, string>()
  for (const [plane, uplink] of Object.entries(spec.uplinks)) {
    const field = `node ${metadata.name}: uplinks.${plane}`
    if (uplink.rate !== undefined && parseQuantity(uplink.rate, `${field}.rate`) < slowestLink) {
      throw new InvalidInput(`${field}.rate ${uplink.rate} is below 1M; rates are in bits per second`, {
        remedy: 'Write the rate with a suffix, such as 10G, or leave it out to use what the kernel reports.',
      })
    }
    for (const member of uplink.bondMembers ?? []) checkMember(member, uplink.interface, field, members)
  }
}

function checkVlans(node: string, uplinks: Node['spec']['uplinks']): void {
  const { pods, management, storage } = uplinks
  if (pods.vlan !== undefined) {
    throw new InvalidInput(
      `node ${node}: uplinks.pods.vlan is ${pods.vlan}, and containers have the VLAN of their network`,
      {
        remedy: 'Leave it out, and set the VLAN of each network with `dctl network create -v`.',
      },
    )
  }
  if (management?.vlan === undefined || management.vlan !== storage?.vlan) return
  if (management.interface !== storage.interface) return
  throw new InvalidInput(`node ${node}: management and storage have the same VLAN ${management.vlan}`, {
    remedy: 'Give each plane a VLAN of its own, or leave one plane out: planes without an entry are not kept apart.',
  })
}

function checkMember(member: string, bond: string, field: string, members: Map<string, string>): void {
  const owner = members.get(member)
  if (member === bond || owner !== undefined) {
    const why = member === bond ? 'is the bond itself' : `is a member of ${owner} already`
    throw new InvalidInput(`${field}.bondMembers: ${member} ${why}`, {
      remedy: 'Name the physical interfaces of each bond, each once.',
    })
  }
  members.set(member, bond)
}

/** Refuses to delete a node that endpoints are on. */
export function admitNodeDelete({ metadata: { name } }: Node, reader: SyncReader): void {
  const users = reader.list(Endpoint, { fieldSelector: `spec.nodeName=${name}` }).map(endpointTitle)
  if (users.length === 0) return
  throw inUse(`node ${name}`, 'endpoint', users, 'Move or stop the containers on it first.')
}
