import {
  attribute,
  flags,
  readAttributes,
  readText,
  text,
  u32,
  u64,
  type NetlinkMessage,
  type NetlinkRequest,
} from './message.ts'

/** RTM_... of linux/rtnetlink.h. */
const type = {
  newQueue: 36,
  deleteQueue: 37,
  getQueue: 38,
  newClass: 40,
  deleteClass: 41,
  getClass: 42,
  newFilter: 44,
  deleteFilter: 45,
  getFilter: 46,
} as const
const kindField = 1 // TCA_KIND
const optionsField = 2 // TCA_OPTIONS
/** Where queues and filters hang, from linux/pkt_sched.h. */
export const place = { root: 0xffff_ffff, hooks: 0xffff_fff1, ingress: 0xffff_fff2 } as const
const hooksHandle = 0xffff_0000
/** The handle 1: of every tree of classes. */
export const treeHandle = 0x1_0000
const ethernetLayer = 1 // TC_LINKLAYER_ETHERNET: the kernel then wants no table of times for packet sizes
const everyProtocol = 0x0300 // ETH_P_ALL in network byte order
const directAction = 1 // TCA_BPF_FLAG_ACT_DIRECT
/** TCA_BPF_... of linux/pkt_cls.h. */
const bpfField = { class: 3, instructionCount: 4, instructions: 5, descriptor: 6, name: 7, flags: 8, id: 11 } as const
/** TCA_HTB_... of linux/pkt_sched.h. */
const htbField = { class: 1, tree: 2, rate: 6, ceil: 7 } as const
/** TCA_TBF_... of linux/pkt_sched.h. */
const tbfField = { parameters: 1, rate: 4, burst: 6 } as const
/** The kernel counts times in ticks of 64 ns (PSCHED_SHIFT 6; /proc/net/psched says the same). */
const ticksPerSecond = 1e9 / 64
const largestNumber = 0xffff_ffff

function header(index: number, handle: number, parent: number, information = 0): Buffer {
  const bytes = Buffer.alloc(20) // struct tcmsg
  bytes.writeInt32LE(index, 4)
  bytes.writeUInt32LE(handle, 8)
  bytes.writeUInt32LE(parent, 12)
  bytes.writeUInt32LE(information, 16)
  return bytes
}

function request(
  requestType: number,
  requestFlags: number,
  head: Buffer,
  kind: string | undefined,
  options: Buffer[],
  purpose: string,
): NetlinkRequest {
  const body = [
    head,
    ...(kind === undefined ? [] : [attribute(kindField, text(kind))]),
    ...(options.length === 0 ? [] : [attribute(optionsField, ...options)]),
  ]
  return { type: requestType, flags: requestFlags, body: Buffer.concat(body), purpose }
}

/** `struct tc_ratespec` for bytes per second; those beyond 32 bits go into an attribute of their own. */
function rateBytes(bytesPerSecond: number): Buffer {
  const bytes = Buffer.alloc(12)
  bytes[1] = ethernetLayer
  bytes.writeUInt32LE(Math.min(bytesPerSecond, largestNumber), 8)
  return bytes
}

function largeRate(field: number, bytesPerSecond: number): Buffer[] {
  return bytesPerSecond > largestNumber ? [attribute(field, u64(BigInt(bytesPerSecond)))] : []
}

/** How long it takes to send so many bytes, in the kernel's ticks. */
function ticks(bytes: number, bytesPerSecond: number): number {
  return Math.min(Math.ceil((bytes / bytesPerSecond) * ticksPerSecond), largestNumber)
}

/** Makes the place where filters see what arrives on a device and what leaves it, before any queue. */
export function addHooks(device: string, index: number): NetlinkRequest {
  const head = header(index, hooksHandle, place.hooks)
  return request(type.newQueue, flags.create | flags.exclusive, head, 'clsact', [], `add the hooks of ${device}`)
}

/** Runs a program, given as a descriptor, on every frame that arrives on a device; instead of an earlier one. */
export function putIngressFilter(device: string, index: number, program: number): NetlinkRequest {
  const head = header(index, 1, place.ingress, ((1 << 16) | everyProtocol) >>> 0)
  const options = [
    attribute(bpfField.descriptor, u32(program)),
    attribute(bpfField.name, text('carbonado')),
    attribute(bpfField.flags, u32(directAction)),
  ]
  return request(type.newFilter, flags.create, head, 'bpf', options, `run the program on ${device}`)
}

/** A queue that lets a rate through: `burst` bytes at once, and bytes beyond `limit` in the queue are dropped. */
export interface TokenBucket {
  /** Bits per second. */
  rate: number
  burst: number
  limit: number
}

/** Puts a token bucket (tbf) before a device, or changes the one there. */
export function putTokenBucket(device: string, index: number, { rate, burst, limit }: TokenBucket): NetlinkRequest {
  const bytesPerSecond = Math.round(rate / 8)
  const parameters = Buffer.concat([
    rateBytes(bytesPerSecond),
    Buffer.alloc(12), // no peak rate
    u32(Math.min(limit, largestNumber)),
    u32(ticks(burst, bytesPerSecond)),
    u32(0),
  ])
  const options = [
    attribute(tbfField.parameters, parameters),
    attribute(tbfField.burst, u32(burst)),
    ...largeRate(tbfField.rate, bytesPerSecond),
  ]
  const head = header(index, 0, place.root)
  return request(type.newQueue, flags.create | flags.replace, head, 'tbf', options, `shape ${device} to ${rate} bit/s`)
}

/** Makes a tree of HTB classes with the handle 1: before a device, or keeps it; what names no class gets `defaultMinor`. */
export function putTree(device: string, index: number, defaultMinor: number): NetlinkRequest {
  const global = Buffer.concat([u32(3), u32(10), u32(defaultMinor), u32(0), u32(0)]) // struct tc_htb_glob
  const head = header(index, treeHandle, place.root)
  const options = [attribute(htbField.tree, global)]
  return request(type.newQueue, flags.create | flags.replace, head, 'htb', options, `make the classes of ${device}`)
}

/** Takes the root queue of a device away; the kernel's own takes its place. */
export function removeRootQueue(device: string, index: number): NetlinkRequest {
  return request(type.deleteQueue, 0, header(index, 0, place.root), undefined, [], `remove the queue of ${device}`)
}

/** A class of the tree 1:, with rates in bits per second and bursts in bytes. */
export interface TrafficClass {
  minor: number
  /** Minor of the class above; absent: the tree itself. */
  parent?: number
  rate: number
  ceil: number
  burst: number
  ceilBurst: number
  priority: number
  /** Bytes that it may send before another class gets its turn. */
  quantum: number
}

function classId(minor: number): number {
  return treeHandle + minor
}

/** Makes a class, or changes it without touching what waits in it. */
export function putClass(device: string, index: number, wanted: TrafficClass): NetlinkRequest {
  const [rate, ceil] = [Math.round(wanted.rate / 8), Math.round(wanted.ceil / 8)]
  const { minor, parent = 0, burst, ceilBurst, quantum, priority } = wanted
  const parameters = Buffer.concat([
    rateBytes(rate),
    rateBytes(ceil),
    u32(ticks(burst, rate)),
    u32(ticks(ceilBurst, ceil)),
    u32(quantum),
    u32(0),
    u32(priority),
  ]) // struct tc_htb_opt
  const options = [
    attribute(htbField.class, parameters),
    ...largeRate(htbField.rate, rate),
    ...largeRate(htbField.ceil, ceil),
  ]
  const head = header(index, classId(minor), classId(parent))
  const purpose = `set class 1:${minor.toString(16)} of ${device}`
  return request(type.newClass, flags.create | flags.replace, head, 'htb', options, purpose)
}

/** Takes a class away. */
export function removeClass(device: string, index: number, minor: number): NetlinkRequest {
  const head = header(index, classId(minor), 0)
  return request(type.deleteClass, 0, head, undefined, [], `remove class 1:${minor.toString(16)} of ${device}`)
}

/** One instruction of a classic BPF program: operation, jumps when true and when false, operand. */
export type BpfInstruction = [operation: number, whenTrue: number, whenFalse: number, operand: number]

/** A filter of the tree 1: that puts frames into a class when a program does not answer 0. */
export interface ClassFilter {
  /** Filters with smaller numbers are asked first; a number has one filter. */
  priority: number
  program: BpfInstruction[]
  minor: number
}

/** Makes a filter of the tree before a device, or changes the one of that priority. Frames that name a class pass it by. */
export function putClassFilter(
  device: string,
  index: number,
  { priority, program, minor }: ClassFilter,
): NetlinkRequest {
  const head = header(index, 1, treeHandle, ((priority << 16) | everyProtocol) >>> 0)
  const count = Buffer.alloc(2)
  count.writeUInt16LE(program.length)
  const options = [
    attribute(bpfField.class, u32(classId(minor))),
    attribute(bpfField.instructionCount, count),
    attribute(bpfField.instructions, ...program.map(instructionBytes)),
  ]
  const purpose = `filter for class 1:${minor.toString(16)} of ${device}`
  return request(type.newFilter, flags.create, head, 'bpf', options, purpose)
}

function instructionBytes([operation, whenTrue, whenFalse, operand]: BpfInstruction): Buffer {
  const bytes = Buffer.alloc(8) // struct sock_filter
  bytes.writeUInt16LE(operation)
  bytes[2] = whenTrue
  bytes[3] = whenFalse
  bytes.writeUInt32LE(operand, 4)
  return bytes
}

/** Takes a filter of the tree before a device away. */
export function removeClassFilter(device: string, index: number, priority: number): NetlinkRequest {
  const head = header(index, 0, treeHandle, ((priority << 16) | everyProtocol) >>> 0)
  return request(type.deleteFilter, 0, head, undefined, [], `remove the filter ${priority} of ${device}`)
}

/** Asks for the queues of all devices. */
export function listQueues(): NetlinkRequest {
  return request(type.getQueue, 0, header(0, 0, 0), undefined, [], 'list the queues')
}

/** Asks for the classes of a device. */
export function listClasses(index: number): NetlinkRequest {
  return request(type.getClass, 0, header(index, 0, 0), undefined, [], 'list the classes')
}

/** Asks for the filters on what arrives on a device. */
export function listIngressFilters(index: number): NetlinkRequest {
  return request(type.getFilter, 0, header(index, 0, place.ingress), undefined, [], 'list the filters')
}

/** Asks for the filters of the tree before a device. */
export function listClassFilters(index: number): NetlinkRequest {
  return request(type.getFilter, 0, header(index, 0, treeHandle), undefined, [], 'list the filters of the tree')
}

/** A filter of a tree as the kernel has it: its program as bytes. */
export interface FoundClassFilter {
  priority: number
  minor: number
  program: Buffer
}

/** A filter of a tree that a list tells of; undefined for other messages. */
export function decodeClassFilter(message: NetlinkMessage): FoundClassFilter | undefined {
  if (message.type !== type.newFilter) return undefined
  const { kind, options } = decodeHead(message.body)
  const [target, program] = [options.get(bpfField.class), options.get(bpfField.instructions)]
  if (kind !== 'bpf' || !target || !program) return undefined
  return { priority: message.body.readUInt32LE(16) >>> 16, minor: target.readUInt32LE() & 0xffff, program }
}

/** Whether a filter is there as it was asked for. */
export function isFilterAsWanted(found: FoundClassFilter | undefined, wanted: ClassFilter): boolean {
  const program = Buffer.concat(wanted.program.map(instructionBytes))
  return found?.minor === wanted.minor && found.program.equals(program)
}

/** A queue of a device. */
export interface Queue {
  index: number
  kind: string
  handle: number
  parent: number
  /** Of a token bucket: bits per second. */
  rate?: number
  /** Of a tree of classes: where frames go that name no class. */
  defaultMinor?: number
}

/** A queue that a list or an announcement tells of; undefined for other messages. */
export function decodeQueue(message: NetlinkMessage): Queue | undefined {
  if (message.type !== type.newQueue) return undefined
  const { index, handle, parent, kind, options } = decodeHead(message.body)
  const parameters = kind === 'tbf' ? options.get(tbfField.parameters) : undefined
  const rate = parameters && rateOf(options.get(tbfField.rate), parameters.readUInt32LE(8))
  const defaultMinor = kind === 'htb' ? options.get(htbField.tree)?.readUInt32LE(8) : undefined
  return {
    index,
    kind,
    handle,
    parent,
    ...(rate === undefined ? {} : { rate }),
    ...(defaultMinor === undefined ? {} : { defaultMinor }),
  }
}

/** A class as the kernel has it; rates in bits per second. */
export type FoundClass = Pick<TrafficClass, 'minor' | 'rate' | 'ceil' | 'priority'>

/** An HTB class that a list tells of; undefined for other messages. */
export function decodeClass(message: NetlinkMessage): FoundClass | undefined {
  if (message.type !== type.newClass) return undefined
  const { handle, kind, options } = decodeHead(message.body)
  const parameters = options.get(htbField.class)
  if (kind !== 'htb' || !parameters) return undefined
  return {
    minor: handle & 0xffff,
    rate: rateOf(options.get(htbField.rate), parameters.readUInt32LE(8)),
    ceil: rateOf(options.get(htbField.ceil), parameters.readUInt32LE(20)),
    priority: parameters.readUInt32LE(40),
  }
}

function rateOf(large: Buffer | undefined, small: number): number {
  return (large ? Number(large.readBigUInt64LE()) : small) * 8
}

/** The kernel's number of the program that a filter runs, from a list of filters; undefined for other messages. */
export function decodeFilterProgram(message: NetlinkMessage): number | undefined {
  if (message.type !== type.newFilter) return undefined
  const { kind, options } = decodeHead(message.body)
  return kind === 'bpf' ? options.get(bpfField.id)?.readUInt32LE() : undefined
}

function decodeHead(body: Buffer): {
  index: number
  handle: number
  parent: number
  kind: string
  options: Map<number, Buffer>
} {
  const fields = readAttributes(body.subarray(20))
  return {
    index: body.readInt32LE(4),
    handle: body.readUInt32LE(8),
    parent: body.readUInt32LE(12),
    kind: readText(fields.get(kindField)) ?? '',
    options: readAttributes(fields.get(optionsField) ?? Buffer.alloc(0)),
  }
}
