import { isDeepStrictEqual } from 'node:util'
import {
  AddressClaim,
  attachmentFinalizer,
  Endpoint,
  isOwnedByPod,
  l2DomainOf,
  MacClaim,
  type Network,
} from '../../api/index.ts'
import { Conflict, InvalidInput } from '../../base/index.ts'
import type { SyncReader } from '../../store/index.ts'
import { contains } from '../addresses/address-range.ts'
import { taken } from '../addresses/claim-book.ts'
import { addressClaimName, macClaimName } from '../addresses/claim-name.ts'
import { formatAddress, formatCidr, parseAddress, type IpAddress } from '../addresses/ip-address.ts'
import { checkMacAddress } from '../addresses/mac-address.ts'
import { formatRanges, subnetSpaces } from '../addresses/subnet-space.ts'
import { endpointTitle } from './network-users.ts'
import { checkNodeExists, checkTierExists, existingNetwork } from './references.ts'

/** Checks an endpoint that is about to be created. Throws InvalidInput, NotFound, Conflict. */
export function admitEndpointCreate(endpoint: Endpoint, reader: SyncReader): void {
  const { spec } = endpoint
  const network = existingNetwork(spec.networkName, reader)
  if (spec.perfTierName !== undefined) checkTierExists(spec.perfTierName, reader)
  checkPlace(endpoint, reader)
  checkHolderIsGuarded(endpoint)
  checkRequestedAddresses(endpoint, network, reader)
  if (spec.macAddress !== undefined) checkRequestedMac(spec.macAddress, network, reader)
}

/** Checks a change: identity stays, and a holder comes and goes only in the ways that keep its addresses safe. */
export function admitEndpointUpdate(endpoint: Endpoint, existing: Endpoint, reader: SyncReader): void {
  checkIdentity(endpoint, existing)
  const { perfTierName } = endpoint.spec
  if (perfTierName !== undefined && perfTierName !== existing.spec.perfTierName) checkTierExists(perfTierName, reader)
  if (!samePlace(endpoint, existing)) checkBinding(endpoint, existing, reader)
}

function checkPlace(endpoint: Endpoint, reader: SyncReader): void {
  const { isStatic, nodeName, holder } = endpoint.spec
  const title = endpointTitle(endpoint)
  if (nodeName === undefined && !isStatic) {
    throw new InvalidInput(`endpoint ${title} is not static and names no node`, {
      remedy: 'Set spec.nodeName, or spec.isStatic for an endpoint that waits for its holder.',
    })
  }
  if (holder !== undefined && nodeName === undefined) {
    throw new InvalidInput(`endpoint ${title} has a holder (${holder.containerId}) but names no node`, {
      remedy: 'Set spec.nodeName together with spec.holder.',
    })
  }
  if (nodeName !== undefined) checkNodeExists(nodeName, reader)
}

/** Without the finalizer the endpoint, and with it its addresses, could go while a container still uses them. */
function checkHolderIsGuarded(endpoint: Endpoint): void {
  const { metadata, spec } = endpoint
  if (spec.holder === undefined || metadata.finalizers?.includes(attachmentFinalizer)) return
  throw new InvalidInput(
    `endpoint ${endpointTitle(endpoint)} is given holder ${spec.holder.containerId} without the finalizer ${attachmentFinalizer}`,
    { remedy: `Add ${attachmentFinalizer} to metadata.finalizers in the same write.` },
  )
}

function checkRequestedAddresses({ spec }: Endpoint, network: Network, reader: SyncReader): void {
  const families = new Set<number>()
  for (const text of spec.addresses ?? []) {
    const address = parseAddress(text)
    if (families.has(address.family)) {
      throw new InvalidInput(`two IPv${address.family} addresses are asked for (${spec.addresses!.join(', ')})`, {
        remedy: 'Ask for at most one address per IP family.',
      })
    }
    families.add(address.family)
    checkRequestedAddress(address, network)
    const name = addressClaimName(l2DomainOf(network), address)
    const claim = reader.get(AddressClaim, { name })
    if (claim) throw taken(`address ${formatAddress(address)}`, claim.spec.l2Domain, claim.spec.endpoint)
  }
}

function checkRequestedAddress(address: IpAddress, network: Network): void {
  const { name } = network.metadata
  const space = subnetSpaces(network).find(({ family }) => family === address.family)
  const text = formatAddress(address)
  if (!space) {
    throw new InvalidInput(`address ${text}: network ${name} has no IPv${address.family} subnet`, {
      remedy: `Ask for an address of ${subnetSpaces(network)
        .map(({ cidr }) => formatCidr(cidr))
        .join(' or ')}.`,
    })
  }
  if (contains(space.handOut, address.value)) return
  const free = formatRanges(space.family, space.handOut)
  const remedy = `Choose an address of ${free}, or extend the range with \`dctl network update ${name} --end ADDRESS\`.`
  throw new InvalidInput(`address ${text} ${whyNot(address, space)} of network ${name} (${free})`, { remedy })
}

function whyNot({ value }: IpAddress, { cidr, gateway, reserved }: ReturnType<typeof subnetSpaces>[number]): string {
  if (value < cidr.first || value > cidr.last) return `is outside the subnet ${formatCidr(cidr)}`
  if (value === gateway) return 'is the gateway'
  if (contains(reserved, value)) return 'is the network or broadcast address'
  return 'is outside the ranges'
}

function checkRequestedMac(macAddress: string, network: Network, reader: SyncReader): void {
  checkMacAddress(macAddress)
  const claim = reader.get(MacClaim, { name: macClaimName(l2DomainOf(network), macAddress) })
  if (claim) throw taken(`MAC ${macAddress}`, claim.spec.l2Domain, claim.spec.endpoint)
}

function checkIdentity(endpoint: Endpoint, existing: Endpoint): void {
  for (const field of ['networkName', 'addresses', 'macAddress', 'isStatic'] as const) {
    if (isDeepStrictEqual(existing.spec[field], endpoint.spec[field])) continue
    const [before, after] = [JSON.stringify(existing.spec[field]), JSON.stringify(endpoint.spec[field])]
    throw new InvalidInput(
      `endpoint ${endpointTitle(endpoint)}: spec.${field} cannot change from ${before ?? 'nothing'} to ${after ?? 'nothing'}`,
      { remedy: 'Delete the endpoint and create it anew.' },
    )
  }
}

function samePlace({ spec }: Endpoint, { spec: before }: Endpoint): boolean {
  return spec.nodeName === before.nodeName && isDeepStrictEqual(spec.holder, before.holder)
}

/** A change of node and holder is a bind (there was none) or an unbind (there is none after); nothing in between. */
function checkBinding(endpoint: Endpoint, existing: Endpoint, reader: SyncReader): void {
  const title = endpointTitle(endpoint)
  const staysThere = isOwnedByPod(endpoint) && endpoint.spec.nodeName === existing.spec.nodeName
  if (!endpoint.spec.isStatic && !staysThere) {
    throw new InvalidInput(`endpoint ${title} is not static: its node and holder cannot change`, {
      remedy: 'Delete it and create another one, or use a static endpoint.',
    })
  }
  if (existing.spec.holder === undefined) checkBind(endpoint, reader)
  else if (endpoint.spec.holder === undefined) checkUnbind(endpoint, existing)
  else throw heldBy(existing)
}

function checkBind(endpoint: Endpoint, reader: SyncReader): void {
  if (endpoint.spec.holder === undefined && endpoint.spec.nodeName === undefined) return
  if (endpoint.metadata.deletionTimestamp) {
    throw new Conflict(`endpoint ${endpointTitle(endpoint)} is being deleted and takes no holder`, {
      remedy: 'Wait until it is gone and create it anew.',
    })
  }
  checkPlace(endpoint, reader)
  checkHolderIsGuarded(endpoint)
}

/** Only the agent that holds the finalizer knows that the datapath entries are gone; it takes both away together. */
function checkUnbind(endpoint: Endpoint, existing: Endpoint): void {
  if (!endpoint.metadata.finalizers?.includes(attachmentFinalizer)) return
  const { holder, nodeName } = existing.spec
  throw new Conflict(
    `endpoint ${endpointTitle(endpoint)} may still be attached to ${holder!.containerId} on node ${nodeName}: its finalizer ${attachmentFinalizer} is there`,
    {
      remedy: `Remove the finalizer together with the holder; the agent of ${nodeName} does so when it has detached it.`,
    },
  )
}

function heldBy(existing: Endpoint): Conflict {
  const { holder, nodeName } = existing.spec
  const { containerId, interfaceName, pod } = holder!
  const who = pod ? `pod ${pod.namespace}/${pod.name} (container ${containerId})` : `container ${containerId}`
  return new Conflict(
    `endpoint ${endpointTitle(existing)} is held by ${who}, interface ${interfaceName}, on node ${nodeName}`,
    { remedy: 'Stop that container first, or use another endpoint.', details: { nodeName, holder } },
  )
}
