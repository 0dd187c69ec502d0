import { existsSync } from 'node:fs'
import { exec } from '../src/base/index.ts'
import { artefacts, places } from './places.ts'
import { createNetns } from './netns.ts'
import { insideNetns } from './processes.ts'

/** What hangs on a port of the switch. */
export interface SwitchPort {
  /** Name of the port's device in the switch; at most 12 characters. */
  name: string
  /** Where the other end of the cable goes, as iproute2 takes it: a process id or the path of a namespace. */
  netns: string
  macAddress: string
  /** Bits per second in each direction; null is no limit. */
  rate: number | null
  /** VLAN of an access port; 0 passes every frame as it is (a trunk). */
  vlan: number
  /** Name of the other end of the cable; `cableInterface` unless told. */
  interface?: string
}

/** Name of the other end of the cable, inside the machine. */
export const cableInterface = 'eth0'

/** Names of the further interfaces of nodes whose planes have one each. */
export const planeInterfaces = { management: 'mgmt0', storage: 'stor0' } as const

const bridge = 'switch'

/** The least burst in bytes: a GSO packet of 64 KiB with the headers of its segments must pass in one piece. */
const minimumBurst = 96 * 1024

/** The least queue in bytes: what a shallow switch gives a port. */
const minimumQueue = 256 * 1024

/** Makes the switch: a learning bridge in a network namespace of its own, without ports. */
export async function createSwitch(): Promise<void> {
  await createNetns(places.switchNetns)
  // The switch itself says nothing: no IPv6 of its own, no multicast snooping that would starve neighbour discovery.
  // A host's firewall for bridges does not apply to it.
  await inSwitch([
    'sh',
    '-c',
    'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ' +
      'for file in /proc/sys/net/bridge/bridge-nf-call-*; do if [ -e "$file" ]; then echo 0 > "$file"; fi; done',
  ])
  await ipBatch([
    'link set lo up',
    `link add ${bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
    `link set ${bridge} up`,
  ])
}

/** Plugs a machine into the switch; a port of that name that was there before is replaced. */
export async function connectPort(port: SwitchPort): Promise<void> {
  await disconnectPort(port.name)
  await ipBatch(cableCommands(port))
  const shaping = port.rate === null ? [] : shapingCommands(port.name, port.rate)
  const access = port.vlan === 0 ? [] : accessCommands(port.name, port.vlan)
  if (shaping.length + access.length === 0) return
  await tcBatch([`qdisc add dev ${port.name} clsact`, ...access, ...shaping])
}

/** Pulls the cable out of a port of the switch, or puts it in again: both ends lose or get their carrier. */
export async function setPortUp(name: string, isUp: boolean): Promise<void> {
  await ipBatch([`link set ${name} ${isUp ? 'up' : 'down'}`])
}

/** Unplugs ports and removes what belongs to them. */
export async function disconnectPort(...names: string[]): Promise<void> {
  if (!existsSync(places.switchNetns)) return
  const devices = names.flatMap((name) => [name, inboundDevice(name)])
  for (let attempt = 1; ; attempt++) {
    const remove = await presentOf(devices)
    if (remove.length === 0) return
    // the cable of a machine that is ending may go between the look and the removal
    const failure = await ipBatch(remove.map((device) => `link del ${device}`)).catch((error: unknown) => error)
    if (failure && attempt === 3) throw failure
  }
}

async function presentOf(devices: string[]): Promise<string[]> {
  const { stdout } = await inSwitch(['ip', '-json', 'link', 'show'])
  const present = (JSON.parse(stdout) as { ifname: string }[]).map(({ ifname }) => ifname)
  return devices.filter((device) => present.includes(device))
}

/** Bytes of burst and queue of a port, from its rate in bits per second: a millisecond of it, but never too little. */
export function portBuffer(rate: number): { burst: number; queue: number } {
  const millisecond = Math.ceil(rate / 8 / 1000)
  return { burst: Math.max(minimumBurst, millisecond), queue: Math.max(minimumQueue, millisecond) }
}

function cableCommands({ name, netns, macAddress, rate, interface: end = cableInterface }: SwitchPort): string[] {
  const cable = [
    `link add ${name} type veth peer name ${end} address ${macAddress} netns ${netns}`,
    `link set ${name} master ${bridge} up`,
  ]
  if (rate === null) return cable
  return [...cable, `link add ${inboundDevice(name)} type ifb`, `link set ${inboundDevice(name)} up`]
}

/**
 * A drop-tail FIFO at link rate in each direction: the port's own queue towards the machine, and for what the machine
 * sends one on an ifb, because the machine is not trusted to keep to the rate of its cable. What the machine sends stays
 * charged to its sockets until it is through the latter, as with a real NIC, and no longer.
 */
function shapingCommands(name: string, rate: number): string[] {
  const { burst, queue } = portBuffer(rate)
  const fifo = `tbf rate ${rate}bit burst ${burst} limit ${queue}`
  return [
    `qdisc add dev ${name} root ${fifo}`,
    `filter add dev ${name} egress prio 1 protocol all ${portProgram('cbl_let_go')}`,
    `qdisc add dev ${inboundDevice(name)} root ${fifo}`,
    `filter add dev ${name} ingress prio 2 protocol all u32 match u32 0 0 action mirred egress redirect dev ${inboundDevice(name)}`,
  ]
}

/** tc reads a classid in hexadecimal; the program finds the VLAN there. */
function accessCommands(name: string, vlan: number): string[] {
  const classid = `classid 0:${vlan.toString(16)}`
  return [
    `filter add dev ${name} ingress prio 1 protocol all ${portProgram('cbl_push')} ${classid}`,
    `filter add dev ${name} egress prio 2 protocol all ${portProgram('cbl_pop')} ${classid}`,
  ]
}

function portProgram(section: string): string {
  return `bpf direct-action object-file ${artefacts.accessPort} section ${section}`
}

function inboundDevice(port: string): string {
  return `${port}-in`
}

function inSwitch(command: string[], input?: string): ReturnType<typeof exec> {
  return exec(insideNetns(places.switchNetns, command), { input })
}

async function ipBatch(lines: string[]): Promise<void> {
  await inSwitch(['ip', '-batch', '-'], `${lines.join('\n')}\n`)
}

async function tcBatch(lines: string[]): Promise<void> {
  // tc mounts a bpffs, and makes folders in it, when it loads a program: in a mount namespace that goes with it.
  await inSwitch(['unshare', '--mount', 'tc', '-batch', '-'], `${lines.join('\n')}\n`)
}
