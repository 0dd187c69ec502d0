import { isIPv6 } from 'node:net'
import { existsSync } from 'node:fs'
import { Conflict, exec, InvalidInput, NotFound } from '../src/base/index.ts'
import { makeLabCgroup, killCgroup, labCgroup } from './cgroups.ts'
import { createNetns, releaseNetns } from './netns.ts'
import { places } from './places.ts'
import { insideNetns, joiningCgroup } from './processes.ts'
import { hostStates } from './state.ts'
import { cableInterface, connectPort, disconnectPort } from './switch.ts'
import { join } from 'node:path'

/** A host outside the cluster, such as the gateway of a VLAN. */
export interface HostOptions {
  /** At most 12 characters. */
  name: string
  /** VLAN of its access port; 0 is untagged. */
  vlan: number
  /** Address with prefix length, or several: `10.30.0.1/24`. */
  address: string | string[]
  /** Default gateway, where it has one. */
  gateway?: string
  /** Bits per second of its port; absent or null: no limit, so that it is never what congests. */
  rate?: number | null
}

/** Largest packet that passes the tagged network: what a link of 1500 bytes leaves beside the tag. */
const accessMtu = 1496

/** Plugs a host outside the cluster into an access port of the switch. */
export async function addHost(options: HostOptions): Promise<void> {
  const { name, vlan } = options
  checkHost(options)
  const addresses = [options.address].flat()
  hostStates.set(name, { name, vlan, addresses })
  const netns = places.hostNetns(name)
  await createNetns(netns)
  await connectPort({ name, netns, macAddress: hostMac(name), rate: options.rate ?? null, vlan })
  const lines = [
    `link set ${cableInterface} mtu ${vlan === 0 ? 1500 : accessMtu} up`,
    // no duplicate address detection: the address is usable at once
    ...addresses.map(
      (address) => `address add ${address} dev ${cableInterface}${address.includes(':') ? ' nodad' : ''}`,
    ),
    ...(options.gateway ? [`${isIPv6(options.gateway) ? '-6 ' : ''}route add default via ${options.gateway}`] : []),
  ]
  await exec(insideNetns(netns, ['ip', '-batch', '-']), { input: `${lines.join('\n')}\n` })
}

/** Removes a host and kills what runs on it. */
export async function removeHost(name: string): Promise<void> {
  requireHost(name)
  await killCgroup(join(labCgroup()!, hostCgroup(name)))
  await disconnectPort(name)
  await releaseNetns(places.hostNetns(name))
  hostStates.delete(name)
}

/** Command as run on a host outside the cluster; it ends with the lab at the latest. */
export function onHost(name: string, command: string[]): [string, ...string[]] {
  requireHost(name)
  return joiningCgroup(makeLabCgroup(hostCgroup(name)), insideNetns(places.hostNetns(name), command))
}

function requireHost(name: string): void {
  if (existsSync(places.hostNetns(name))) return
  throw new NotFound(`the lab has no host "${name}"`, { remedy: 'See what there is with: dctl lab status' })
}

function checkHost({ name, vlan }: HostOptions): void {
  if (!/^[a-z][a-z0-9-]{0,11}$/.test(name)) {
    throw new InvalidInput(`host name "${name}" must be 1 to 12 small letters, digits or hyphens`)
  }
  if (!Number.isInteger(vlan) || vlan < 0 || vlan > 4094) {
    throw new InvalidInput(`VLAN ${vlan} of host ${name} must be 0 (untagged) to 4094`)
  }
  if (hostStates.has(name) || /^n[0-9]+$|^control$/.test(name)) {
    throw new Conflict(`the lab already has a machine "${name}"`, { remedy: 'Choose another name.' })
  }
}

function hostCgroup(name: string): string {
  return `host-${name}`
}

/** Always the same one for a name, so that neighbours need not learn it again. */
function hostMac(name: string): string {
  const hash = [...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) >>> 0, 7)
  const octets = [hash >>> 24, (hash >>> 16) & 255, (hash >>> 8) & 255, hash & 255]
  return ['02', 'cb', ...octets.map((octet) => octet.toString(16).padStart(2, '0'))].join(':')
}
