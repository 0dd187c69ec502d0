import { Endpoint, parseQuantity, type Node } from '../../api/index.ts'
import { InvalidInput } from '../../base/index.ts'
import type { SyncReader } from '../../store/index.ts'
import { endpointTitle, inUse } from './network-users.ts'

/** Slower links than this (bits per second) are a typing mistake: 10 instead of 10G. */
const slowestLink = 1_000_000

/** Checks the uplinks of a node: a sensible rate, and bond members that are other interfaces, each once. */
export function admitNode({ metadata, spec }: Node): void {
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
