import { isIP } from 'node:net'
import { Endpoint } from '../../api/index.ts'
import { Conflict, NotFound } from '../../base/index.ts'
import type { ResourceStore } from '../../store/index.ts'
import { formatAddress, parseAddress } from '../addresses/ip-address.ts'
import { addressesOf } from './endpoint-columns.ts'

/**
 * The endpoint that a person means by its name, NAMESPACE/NAME, the name of its pod, its container, or an address.
 * Names win over pods, those over containers. Throws NotFound, and Conflict when several are meant.
 */
export async function findEndpoint(store: ResourceStore, text: string, namespace: string): Promise<Endpoint> {
  const { items } = await store.list(Endpoint)
  return theOne(text, namespace, endpointsMeant(items, text, namespace))
}

/**
 * Both ends of a way. A pod with several interfaces means the one that is on the other end's network. The receiver may
 * be an address that is no endpoint's: undefined. Throws NotFound, and Conflict when several are meant.
 */
export async function findEnds(
  store: ResourceStore,
  [from, to]: [from: string, to: string],
  namespace: string,
): Promise<{ from: Endpoint; to: Endpoint | undefined }> {
  const { items } = await store.list(Endpoint)
  const [senders, receivers] = [endpointsMeant(items, from, namespace), endpointsMeant(items, to, namespace)]
  const pair = pairOnOneNetwork(senders, receivers)
  if (pair) return pair
  const sender = theOne(from, namespace, senders)
  return { from: sender, to: receivers.length === 0 && isIP(to) ? undefined : theOne(to, namespace, receivers) }
}

/** The only pair of them that is on one network; undefined when there is none, or more than one. A pure function. */
export function pairOnOneNetwork(
  senders: Endpoint[],
  receivers: Endpoint[],
): { from: Endpoint; to: Endpoint } | undefined {
  const pairs = senders.flatMap((from) =>
    receivers.filter((to) => to.spec.networkName === from.spec.networkName).map((to) => ({ from, to })),
  )
  return pairs.length === 1 ? pairs[0] : undefined
}

function theOne(text: string, namespace: string, found: Endpoint[]): Endpoint {
  if (found.length === 1) return found[0]!
  if (found.length > 1) throw ambiguous(text, found)
  throw new NotFound(`no endpoint "${text}" in namespace ${namespace}, and no pod, container or address of that name`, {
    remedy: 'See what there is with: dctl endpoint list',
  })
}

/** The endpoints that a text may mean; several when it is not clear. A pure function. */
export function endpointsMeant(endpoints: Endpoint[], text: string, namespace: string): Endpoint[] {
  if (isIP(text)) return endpoints.filter((endpoint) => addressesOf(endpoint).includes(canonical(text)))
  const slash = text.indexOf('/')
  const [space, name] = slash < 0 ? [namespace, text] : [text.slice(0, slash), text.slice(slash + 1)]
  const inSpace = endpoints.filter(({ metadata }) => metadata.namespace === space)
  const named = inSpace.filter(({ metadata }) => metadata.name === name)
  if (named.length > 0) return named
  const ofPod = inSpace.filter(({ spec }) => spec.holder?.pod?.name === name)
  if (ofPod.length > 0) return ofPod
  return inSpace.filter(({ spec }) => name.length >= 6 && spec.holder?.containerId.startsWith(name))
}

function canonical(text: string): string {
  return formatAddress(parseAddress(text))
}

function ambiguous(text: string, found: Endpoint[]): Conflict {
  const names = found.map(({ metadata, spec }) => `${metadata.namespace}/${metadata.name} (${spec.networkName})`)
  return new Conflict(`"${text}" is ${found.length} endpoints: ${names.join(', ')}`, {
    remedy: 'Give the name of one.',
  })
}
