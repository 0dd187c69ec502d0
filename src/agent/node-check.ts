import { existsSync, readFileSync, statfsSync } from 'node:fs'
import { release } from 'node:os'
import { gunzipSync } from 'node:zlib'
import type { Node } from '../api/index.ts'
import {
  findUplinkProblems,
  kernelFiles,
  readLinkFacts,
  type FactsOf,
  type LinkFacts,
} from '../network/uplinks/index.ts'

/** Something that keeps a node from working as it should; `reason` is a stable word in CamelCase. */
export interface NodeProblem {
  reason: string
  message: string
  remedy: string
}

/** What the node check looks at. */
export interface NodeFacts {
  /** What the kernel says of a network device. */
  factsOf: FactsOf
  hasTypeInformation: boolean
  hasBpffs: boolean
  /** The kernel's configuration as KEY=VALUE lines; undefined when the kernel does not show it. */
  kernelConfiguration: string | undefined
}

const bpffsMagic = 0xcafe4a11

/** Reads everything that the node check looks at. */
export function readNodeFacts(bpffs: string): NodeFacts {
  return {
    factsOf: readDevice,
    hasTypeInformation: existsSync('/sys/kernel/btf/vmlinux'),
    hasBpffs: isBpffs(bpffs),
    kernelConfiguration: readKernelConfiguration(),
  }
}

/** What the kernel says of a network device now. */
export function readDevice(name: string): LinkFacts {
  return readLinkFacts(kernelFiles, name)
}

/** Judges the facts of a node; a pure function. Empty when all is well. */
export function findNodeProblems(spec: Node['spec'], facts: NodeFacts): NodeProblem[] {
  return [...findUplinkProblems(spec, facts.factsOf), ...kernelProblems(facts)]
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
