import { existsSync, readFileSync, statfsSync } from 'node:fs'
import { release } from 'node:os'
import { gunzipSync } from 'node:zlib'
import { parseQuantity, type Node } from '../api/index.ts'

/** Something that keeps a node from working as it should; `reason` is a stable word in CamelCase. */
export interface NodeProblem {
  reason: string
  message: string
  remedy: string
}

/** What the kernel says of the uplink. */
export interface UplinkFacts {
  exists: boolean
  carrier: boolean
  /** Bytes; 0 when there is no such device. */
  mtu: number
  /** Bits per second; 0 when the kernel does not know, as for virtual devices. */
  speed: number
}

/** What the node check looks at. */
export interface NodeFacts {
  uplink: UplinkFacts
  hasTypeInformation: boolean
  hasBpffs: boolean
  /** The kernel's configuration as KEY=VALUE lines; undefined when the kernel does not show it. */
  kernelConfiguration: string | undefined
}

/** Reads what the kernel says of a network device. */
export function readUplinkFacts(device: string): UplinkFacts {
  const read = (name: string): string => readOr(`/sys/class/net/${device}/${name}`, '').trim()
  const speed = Number(read('speed'))
  return {
    exists: existsSync(`/sys/class/net/${device}`),
    carrier: read('carrier') === '1',
    mtu: Number(read('mtu')),
    speed: speed > 0 ? speed * 1e6 : 0,
  }
}

const bpffsMagic = 0xcafe4a11

/** Reads everything that the node check looks at. */
export function readNodeFacts(uplink: string, bpffs: string): NodeFacts {
  return {
    uplink: readUplinkFacts(uplink),
    hasTypeInformation: existsSync('/sys/kernel/btf/vmlinux'),
    hasBpffs: isBpffs(bpffs),
    kernelConfiguration: readKernelConfiguration(),
  }
}

/** Judges the facts of a node; a pure function. Empty when all is well. */
export function findNodeProblems(spec: Node['spec'], facts: NodeFacts): NodeProblem[] {
  return [...uplinkProblems(spec.uplinks.pods, facts.uplink), ...kernelProblems(facts)]
}

function uplinkProblems(expected: Node['spec']['uplinks']['pods'], found: UplinkFacts): NodeProblem[] {
  const device = expected.interface
  if (!found.exists) {
    return [
      {
        reason: 'UplinkMissing',
        message: `the uplink ${device} does not exist on this node`,
        remedy: 'Correct spec.uplinks.pods.interface of the Node, or bring the device up.',
      },
    ]
  }
  const problems: NodeProblem[] = []
  if (!found.carrier) {
    problems.push({
      reason: 'UplinkDown',
      message: `the uplink ${device} has no carrier`,
      remedy: 'Check the cable and the switch port, or set the device up.',
    })
  }
  if (expected.mtu !== undefined && found.mtu < expected.mtu) {
    problems.push({
      reason: 'UplinkMtuTooSmall',
      message: `the uplink ${device} has MTU ${found.mtu}, spec.uplinks.pods.mtu says ${expected.mtu}`,
      remedy: `Raise the MTU of the device, or lower spec.uplinks.pods.mtu to ${found.mtu}.`,
    })
  }
  if (expected.rate === undefined && found.speed === 0) {
    problems.push({
      reason: 'UplinkRateUnknown',
      message: `the kernel does not know the speed of the uplink ${device}, so no bandwidth can be promised`,
      remedy: 'Set spec.uplinks.pods.rate of the Node.',
    })
  }
  return problems
}

/** Kernel options that the datapath needs, with what for. */
const neededOptions: [string, string][] = [
  ['CONFIG_BPF_SYSCALL', 'eBPF'],
  ['CONFIG_NET_CLS_BPF', 'eBPF programs on interfaces'],
  ['CONFIG_NET_SCH_INGRESS', 'the clsact queueing discipline'],
  ['CONFIG_NET_SCH_HTB', 'bandwidth floors and caps'],
  ['CONFIG_VETH', 'pairs of virtual interfaces'],
]

function kernelProblems({ hasTypeInformation, hasBpffs, kernelConfiguration }: NodeFacts): NodeProblem[] {
  const problems: NodeProblem[] = []
  if (!hasTypeInformation) {
    problems.push({
      reason: 'KernelWithoutTypeInformation',
      message: 'the kernel has no BTF (/sys/kernel/btf/vmlinux), which the counters need',
      remedy: 'Use a kernel with CONFIG_DEBUG_INFO_BTF=y; those of the usual distributions have it.',
    })
  }
  if (!hasBpffs) {
    problems.push({
      reason: 'BpffsMissing',
      message: 'no bpffs is mounted where the agent is told to keep its programs',
      remedy: 'mount -t bpf bpf /sys/fs/bpf',
    })
  }
  for (const [option, what] of kernelConfiguration === undefined ? [] : neededOptions) {
    if (new RegExp(`^${option}=[ym]$`, 'm').test(kernelConfiguration!)) continue
    problems.push({
      reason: 'KernelFeatureMissing',
      message: `the kernel was built without ${option}: ${what}`,
      remedy: 'Use a kernel that has it, built in or as a module.',
    })
  }
  return problems
}

function isBpffs(path: string): boolean {
  try {
    return statfsSync(path).type === bpffsMagic
  } catch {
    return false
  }
}

let kernelConfiguration: { text: string | undefined } | undefined

/** Read once: it cannot change while the kernel runs. */
function readKernelConfiguration(): string | undefined {
  kernelConfiguration ??= { text: unpackKernelConfiguration() }
  return kernelConfiguration.text
}

function unpackKernelConfiguration(): string | undefined {
  try {
    return gunzipSync(readFileSync('/proc/config.gz')).toString()
  } catch {
    return readOr(`/boot/config-${release()}`, undefined)
  }
}

function readOr<T>(path: string, otherwise: T): string | T {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return otherwise
  }
}

/** Bits per second of a node's pods uplink: as configured, else as the kernel reports; 0 when neither says. */
export function linkRateOf(spec: Node['spec'], found: UplinkFacts): number {
  const { rate } = spec.uplinks.pods
  return rate === undefined ? found.speed : parseQuantity(rate, 'spec.uplinks.pods.rate')
}
