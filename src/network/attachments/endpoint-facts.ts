import { createHash } from 'node:crypto'
import {
  attachmentFinalizer,
  isDecidedAbout,
  type Allocation,
  type Endpoint,
  type Holder,
  type OwnerReference,
  type Refusal,
} from '../../api/index.ts'
import {
  CarbonadoError,
  Conflict,
  Internal,
  InvalidInput,
  NotFound,
  Unavailable,
  type ErrorCode,
} from '../../base/index.ts'
import type { ObjectReference } from '../../store/index.ts'
import { endpointNameFor } from './endpoint-name.ts'
import type { InterfaceRequest } from './plan-interfaces.ts'

/** Kept with the object so that an agent that lost its journal can adopt what the kernel still has. */
export const cniNetworkAnnotation = 'carbonado.io/cni-network'
export const netnsAnnotation = 'carbonado.io/netns'
/** Routing table and default-route metric of one of several interfaces, as JSON. */
export const routingAnnotation = 'carbonado.io/routing'

/** An endpoint that exists and waits for control's decision. */
export interface BoundEndpoint {
  reference: Required<ObjectReference>
  uid: string
  generation: number
  networkName: string
  /** As it was answered: a server that decides at once has decided here. */
  answered: Endpoint
}

/** Namespace and name of an endpoint that belongs to a container. */
export function referenceFor(
  request: Pick<InterfaceRequest, 'containerId' | 'interfaceName' | 'pod' | 'wish'>,
): Required<ObjectReference> {
  const namespace = request.pod?.namespace ?? 'default'
  const { wish } = request
  if (wish.kind === 'static') return { namespace, name: wish.endpointName }
  if (wish.kind === 'dynamic') return { namespace, name: endpointNameFor(request) }
  throw new Internal('which endpoint an interface gets is not known before it is bound')
}

/** Whether a holder is this container interface. */
export function isSameHolder(
  holder: Pick<Holder, 'containerId' | 'interfaceName'>,
  other: Pick<Holder, 'containerId' | 'interfaceName'>,
): boolean {
  return holder.containerId === other.containerId && holder.interfaceName === other.interfaceName
}

/** Namespace and name of an endpoint that exists. */
export function referenceTo({ metadata }: Endpoint): Required<ObjectReference> {
  return { namespace: metadata.namespace!, name: metadata.name }
}

/** What is waited for of an endpoint that was made or bound. */
export function boundFrom(endpoint: Endpoint): BoundEndpoint {
  const { uid, generation } = endpoint.metadata
  return {
    reference: referenceTo(endpoint),
    uid: uid!,
    generation: generation!,
    networkName: endpoint.spec.networkName,
    answered: endpoint,
  }
}

/** What is kept with the object, for an agent that lost its journal. */
export function annotationsFor(request: InterfaceRequest): Record<string, string> {
  const { defaultRouteMetric, routingTable } = request
  const isRouted = defaultRouteMetric !== undefined || routingTable !== undefined
  return {
    [cniNetworkAnnotation]: request.cniNetwork,
    [netnsAnnotation]: request.netns,
    ...(isRouted ? { [routingAnnotation]: JSON.stringify({ defaultRouteMetric, routingTable }) } : {}),
  }
}

/** The container interface of a request as holder of an endpoint. */
export function holderFor({ containerId, interfaceName, primaryInterface, pod }: InterfaceRequest): Holder {
  return {
    containerId,
    interfaceName,
    ...(primaryInterface ? { primaryInterface } : {}),
    ...(pod ? { pod } : {}),
  }
}

/** The finalizers of an endpoint without that of its attachment. */
export function otherFinalizers({ metadata }: Endpoint): string[] {
  return (metadata.finalizers ?? []).filter((finalizer) => finalizer !== attachmentFinalizer)
}

/** Throws NotFound for an endpoint that is not there or on its way out, InvalidInput for one that is not static. */
export function requireBindable(
  endpoint: Endpoint | undefined,
  reference: ObjectReference,
): asserts endpoint is Endpoint {
  const name = `${reference.namespace}/${reference.name}`
  if (!endpoint || endpoint.metadata.deletionTimestamp) {
    throw new NotFound(`static endpoint ${name} ${endpoint ? 'is being deleted' : 'does not exist'}`, {
      remedy: `Create it: dctl endpoint create ${reference.name} -n NETWORK --ns ${reference.namespace}.`,
    })
  }
  if (endpoint.spec.isStatic) return
  throw new InvalidInput(`endpoint ${name} is not static: it belongs to one container only`, {
    remedy: 'Name a static endpoint in endpointId, or leave endpointId out.',
  })
}

/** The owner reference with which the endpoint of a pod goes when the pod is gone. */
export function podReference({ name, uid }: { name: string; uid: string }): OwnerReference {
  return { apiVersion: 'v1', kind: 'Pod', name, uid }
}

/** Throws Conflict when a pod asks for something else than when it was bound to its node, for which it was prepared. */
export function requireAsWished({ metadata, spec }: Endpoint, { wish }: InterfaceRequest): void {
  if (wish.kind !== 'dynamic') return
  const { networkName = spec.networkName, perfTierName = spec.perfTierName } = wish
  if (networkName === spec.networkName && perfTierName === spec.perfTierName) return
  const text = (network: string, tier: string | undefined): string => `network ${network}, ${tier === undefined ? 'no tier of its own' : `tier ${tier}`}` // prettier-ignore
  throw new Conflict(
    `endpoint ${metadata.namespace}/${metadata.name} of the pod was made for ${text(spec.networkName, spec.perfTierName)}, ` +
      `and the pod now asks for ${text(networkName, perfTierName)}`,
    { remedy: 'Annotations are read when a pod is given its node: delete the pod and create it anew.' },
  )
}

/** The error for an endpoint of a pod that is on its way out. */
export function leaving({ metadata }: Endpoint): Conflict {
  return new Conflict(`endpoint ${metadata.namespace}/${metadata.name} of the pod is being deleted`, {
    remedy: 'Try again; if it stays so, create the pod anew.',
  })
}

/** Whether nobody holds a static endpoint. */
export function isFree({ spec }: Endpoint): boolean {
  return spec.holder === undefined && spec.nodeName === undefined
}

/** Whether a name is PREFIX-0, PREFIX-1, ... */
export function isOfPrefix(name: string, prefix: string): boolean {
  return name.startsWith(`${prefix}-`) && /^(0|[1-9][0-9]*)$/.test(name.slice(prefix.length + 1))
}

/** Begins somewhere else for each container, so that those that start together do not all try the same one first. */
export function rotated(endpoints: Endpoint[], containerId: string): Endpoint[] {
  const start = createHash('sha256').update(containerId).digest().readUInt32LE() % Math.max(1, endpoints.length)
  return [...endpoints.slice(start), ...endpoints.slice(0, start)]
}

/** Names up to three endpoints that are held, with who has them. */
export function inUse(endpoints: Endpoint[]): Conflict {
  const [first] = endpoints
  const held = endpoints.slice(0, 3).map(({ metadata, spec }) => {
    const pod = spec.holder?.pod
    const who = pod ? `pod ${pod.namespace}/${pod.name}` : `container ${spec.holder?.containerId ?? '(unknown)'}`
    return `${metadata.namespace}/${metadata.name} is held by ${who} on node ${spec.nodeName ?? '(unknown)'}`
  })
  const more = endpoints.length > held.length ? `, and ${endpoints.length - held.length} more are held` : ''
  return new Conflict(`static endpoint ${held.join(', ')}${more}`, {
    remedy:
      'Stop that container first, or use another endpoint. Of a node that is off for good take it back with: ' +
      'dctl node delete NODE --node-is-off.',
    details: { holder: first?.spec.holder, nodeName: first?.spec.nodeName },
  })
}

/** Whether control has decided about what was made or bound, or it is being deleted. */
export function isDecided(endpoint: Endpoint, bound: BoundEndpoint): boolean {
  if (endpoint.metadata.name !== bound.reference.name || endpoint.metadata.uid !== bound.uid) return false
  if (endpoint.metadata.deletionTimestamp) return true
  return isDecidedAbout(endpoint, bound.generation)
}

/** What control has given. Throws Conflict when the endpoint is being deleted, and the error of a refusal. */
export function allocationOf(endpoint: Endpoint): Allocation {
  const name = `${endpoint.metadata.namespace}/${endpoint.metadata.name}`
  if (endpoint.metadata.deletionTimestamp) {
    throw new Conflict(`endpoint ${name} was deleted while it was being attached`, {
      remedy: 'Start the container again.',
    })
  }
  const decision = endpoint.status?.allocation
  if (decision?.state === 'Allocated') return decision
  throw decision ? errorFrom(decision) : new Unavailable(`endpoint ${name} has no allocation`)
}

const errorCodes: string[] = [
  'InvalidInput',
  'NotFound',
  'Conflict',
  'Exhausted',
  'Expired',
  'Forbidden',
  'Unavailable',
] satisfies ErrorCode[]

function errorFrom({ code, message, remedy }: Refusal): CarbonadoError {
  return new CarbonadoError(errorCodes.includes(code) ? (code as ErrorCode) : 'Internal', message, { remedy })
}
