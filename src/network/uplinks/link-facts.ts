import type { FileTree } from './file-tree.ts'

/** What the kernel says of a network device. */
export interface LinkFacts {
  name: string
  exists: boolean
  /** Changes when a device of that name is made anew; 0 when there is none. */
  index: number
  carrier: boolean
  /** Bytes; 0 when there is no such device. */
  mtu: number
  /** Bits per second; 0 when the kernel does not know. */
  speed: number
  /** Whether a NIC is behind it. Others (veth, tap) name a speed that says nothing about what they carry. */
  isHardware: boolean
  /** Of a VLAN device. */
  vlan?: number
  /** Of a bond: its mode, such as active-backup or 802.3ad, and its members in the order of their names. */
  bond?: Bond
  /** Devices below one that is not a bond, such as the one that a VLAN device is on. */
  lower: string[]
}

/** A bond, as the kernel has it. */
export interface Bond {
  mode: string
  /** Whether it looks after its members (`miimon` or `arp_interval`); otherwise it goes on sending over dead ones. */
  isMonitored: boolean
  members: BondMember[]
}

/** A member of a bond. */
export interface BondMember {
  name: string
  /** Whether its own link is up, by the device and by the bond's monitor. */
  up: boolean
  /** Whether it is up and carries frames: a backup, or a port without a partner, does not. */
  active: boolean
  /** Bits per second; 0 when the kernel does not know. */
  speed: number
  isHardware: boolean
}

const devices = '/sys/class/net'

/** Reads what the kernel says of a network device. */
export function readLinkFacts(tree: FileTree, name: string): LinkFacts {
  const folder = `${devices}/${name}`
  const files = tree.list(folder)
  const isBond = files.includes('bonding')
  const vlan = Number(/\bVID: (\d+)/.exec(tree.read(`/proc/net/vlan/${name}`) ?? '')?.[1])
  const lower = files.flatMap((file) => (file.startsWith('lower_') ? [file.slice('lower_'.length)] : [])).sort()
  return {
    name,
    exists: files.length > 0,
    index: numberIn(tree, `${folder}/ifindex`),
    carrier: tree.read(`${folder}/carrier`) === '1',
    mtu: numberIn(tree, `${folder}/mtu`),
    speed: speedOf(tree, name),
    isHardware: files.includes('device'),
    ...(vlan > 0 ? { vlan } : {}),
    ...(isBond ? { bond: readBond(tree, `${folder}/bonding`, lower) } : {}),
    lower: isBond ? [] : lower,
  }
}

function readBond(tree: FileTree, folder: string, members: string[]): Bond {
  return {
    mode: tree.read(`${folder}/mode`)?.split(' ')[0] ?? '',
    isMonitored: numberIn(tree, `${folder}/miimon`) > 0 || numberIn(tree, `${folder}/arp_interval`) > 0,
    members: members.map((member) => readMember(tree, member)),
  }
}

/** The bond says of each member whether it takes part: `active` is also every member of a mode that uses all. */
function readMember(tree: FileTree, name: string): BondMember {
  const folder = `${devices}/${name}`
  const state = tree.read(`${folder}/bonding_slave/state`)
  const hasCarrier = tree.read(`${folder}/carrier`) === '1'
  const up = hasCarrier && tree.read(`${folder}/bonding_slave/mii_status`) === 'up'
  return {
    name,
    up,
    active: up && state === 'active',
    speed: speedOf(tree, name),
    isHardware: tree.list(folder).includes('device'),
  }
}

/** The kernel speaks of megabits per second, and of -1 or 4294967295 when it does not know. */
function speedOf(tree: FileTree, name: string): number {
  const speed = numberIn(tree, `${devices}/${name}/speed`)
  return speed > 0 && speed < 0x7fffffff ? speed * 1e6 : 0
}

function numberIn(tree: FileTree, path: string): number {
  return Number(tree.read(path) ?? 0) || 0
}

/** Names of the files with the speeds of NICs, which others have not; the kernel may let one wait for them. */
export function speedFiles(places: ReadonlyMap<string, LinkPlace>): string[] {
  return [...places].flatMap(([name, { isHardware }]) => (isHardware ? [`${devices}/${name}/speed`] : []))
}

/** What a device is to others: which are below it, and whether it is a member of a bond; and whether a NIC is behind it. */
export interface LinkPlace {
  lower: string[]
  isMember: boolean
  isHardware: boolean
}

/** Reads what devices are to others; a list of a folder each. */
export function readLinkPlaces(tree: FileTree, names: Iterable<string>): Map<string, LinkPlace> {
  return new Map(
    [...names].map((name) => {
      const entries = tree.list(`${devices}/${name}`)
      const lower = entries.filter((file) => file.startsWith('lower_'))
      return [name, { lower, isMember: entries.includes('bonding_slave'), isHardware: entries.includes('device') }]
    }),
  )
}

const usualFiles = ['ifindex', 'operstate', 'carrier_changes', 'mtu']
const memberFiles = [...usualFiles, 'bonding_slave/state', 'bonding_slave/mii_status']

/**
 * A text that changes when anything about these devices may have: cheap to read often, because none of these files takes
 * the lock under which the kernel makes and removes interfaces.
 */
export function linkFingerprint(tree: FileTree, places: ReadonlyMap<string, LinkPlace>): string {
  let text = ''
  for (const [name, { lower, isMember }] of places) {
    text += `${name} ${lower.join(' ')}`
    for (const file of isMember ? memberFiles : usualFiles) text += ` ${tree.read(`${devices}/${name}/${file}`)}`
    text += '\n'
  }
  return text
}
