import { isDeepStrictEqual } from 'node:util'
import { Drive, Endpoint, Node, Plex, VolumeAttachment, type KubeObject } from '../api/index.ts'
import { Forbidden } from '../base/index.ts'
import type { GuardedWrite } from '../store/index.ts'

/**
 * Holds the agent of `nodeName` to what is its own: endpoints on its node (and free static ones, to bind them), its own
 * Node and of it what agents report. A pure function of what is there and what is to be. Throws Forbidden.
 */
export function holdToOwnNode(nodeName: string, user: string, write: GuardedWrite): void {
  const problem = problemOf(nodeName, write)
  if (problem === undefined) return
  throw new Forbidden(`User "${user}" (agent of node ${nodeName}) ${problem}`, {
    remedy: 'An agent writes what is on its own node only. Use the token that belongs to the node, or another role.',
  })
}

function problemOf(nodeName: string, write: GuardedWrite): string | undefined {
  if (write.kind.kind === Endpoint.kind) return endpointProblem(nodeName, write as GuardedWrite<Endpoint>)
  if (write.kind.kind === Node.kind) return nodeProblem(nodeName, write as GuardedWrite<Node>)
  if ([Drive.kind, Plex.kind, VolumeAttachment.kind].includes(write.kind.kind)) {
    return storageProblem(nodeName, write as GuardedWrite<Drive | Plex | VolumeAttachment>)
  }
  return undefined
}

/** Drives, plexes and attachments of its own node; of what control or people decide about them an agent changes nothing. */
function storageProblem(
  nodeName: string,
  { kind, verb, object, existing }: GuardedWrite<Drive | Plex | VolumeAttachment>,
): string | undefined {
  const what = `${kind.kind} ${object.metadata.name}`
  const other = [object, existing].find((each) => each && each.spec.nodeName !== nodeName)
  if (other) return `may not write ${what}: it is on node ${other.spec.nodeName}`
  if (verb === 'update' && !isDeepStrictEqual(object.spec, existing!.spec)) return `may not change the spec of ${what}`
  if (kind.kind !== Drive.kind || verb !== 'status') return undefined
  const capacity = (drive: KubeObject | undefined): unknown => (drive as Drive | undefined)?.status?.capacity
  if (isDeepStrictEqual(capacity(object), capacity(existing))) return undefined
  return `may not change status.capacity of ${what}: control writes it`
}

function endpointProblem(nodeName: string, write: GuardedWrite<Endpoint>): string | undefined {
  const { verb, object, existing } = write
  switch (verb) {
    case 'create':
      if (object.spec.isStatic) return `may not create the static endpoint ${titleOf(object)}`
      return foreign(nodeName, object)
    case 'update':
      return foreign(nodeName, existing!, 'free') ?? foreign(nodeName, object, 'free') ?? ownershipProblem(write)
    case 'status':
      if (!isDeepStrictEqual(object.status?.allocation, existing!.status?.allocation)) {
        return `may not change the allocation of endpoint ${titleOf(object)}: control writes it`
      }
      return foreign(nodeName, existing!)
    case 'delete':
      if (existing!.spec.isStatic) return `may not delete the static endpoint ${titleOf(existing!)}`
      return foreign(nodeName, existing!)
  }
}

/** A write to a free static endpoint must bind it, and what an administrator chose stays. */
function ownershipProblem({ object, existing }: GuardedWrite<Endpoint>): string | undefined {
  if (existing!.spec.nodeName === undefined && object.spec.nodeName === undefined) {
    return `may write endpoint ${titleOf(object)} only to bind it: no node holds it`
  }
  if (object.spec.perfTierName === existing!.spec.perfTierName) return undefined
  return `may not change the perf-tier of endpoint ${titleOf(object)}`
}

/** With `free` an endpoint that no node holds is nobody's and may pass. */
function foreign(nodeName: string, endpoint: Endpoint, free?: 'free'): string | undefined {
  const { nodeName: other } = endpoint.spec
  if (other === nodeName || (other === undefined && free)) return undefined
  return `may not write endpoint ${titleOf(endpoint)}: it is on ${other === undefined ? 'no node' : `node ${other}`}`
}

function nodeProblem(nodeName: string, { verb, object, existing }: GuardedWrite<Node>): string | undefined {
  if (object.metadata.name !== nodeName) return `may not write node ${object.metadata.name}`
  if (verb !== 'status') return undefined
  for (const field of ['ready', 'capacity', 'hostAddress'] as const) {
    if (isDeepStrictEqual(object.status?.[field], existing!.status?.[field])) continue
    return `may not change status.${field} of node ${nodeName}: control writes it`
  }
  return undefined
}

function titleOf({ metadata: { namespace, name } }: KubeObject): string {
  return `${namespace}/${name}`
}
