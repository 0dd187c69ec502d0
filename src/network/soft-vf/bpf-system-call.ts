import koffi from 'koffi'
import { release } from 'node:os'
import { Internal } from '../../base/index.ts'

/** Commands of bpf(2), from linux/bpf.h. */
const command = {
  mapLookup: 1,
  mapUpdate: 2,
  mapDelete: 3,
  mapNextKey: 4,
  pin: 6,
  openPinned: 7,
  attachProgram: 8,
  testRun: 10,
  openProgram: 13,
  objectInfo: 15,
  queryPrograms: 16,
  openTracepoint: 17,
  mapLookupBatch: 24,
  createLink: 28,
  updateLink: 29,
  createIterator: 33,
} as const

const systemCallNumber = process.arch === 'arm64' ? 280 : 321
const errnoNotFound = 2
/** More than any map has that is read key by key; the bound is for maps that change while they are read. */
const mostKeys = 65_536
const tcxIngress = 46 // BPF_TCX_INGRESS
const mapIterator = 28 // BPF_TRACE_ITER
/** The kernel allows no more programs at one hook (BPF_MPROG_MAX). */
const mostAhead = 64
/** BPF_F_REPLACE */
const replaceProgram = 4

const library = koffi.load(null)
const systemCall = library.func('long syscall(long number, long command, void *attribute, long size)')
const closeDescriptor = library.func('int close(int descriptor)')

function call(name: keyof typeof command, attribute: Buffer): number {
  const result = Number(systemCall(systemCallNumber, command[name], attribute, attribute.length))
  return result < 0 ? -koffi.errno() : result
}

/** Like `call`, on another thread, so that the event loop does not wait with it. */
function callAside(name: keyof typeof command, attribute: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    systemCall.async(
      systemCallNumber,
      command[name],
      attribute,
      attribute.length,
      (error: unknown, result: unknown) => {
        if (error) reject(error as Error)
        else resolve(Number(result))
      },
    )
  })
}

function must(name: keyof typeof command, attribute: Buffer, what: string): number {
  const result = call(name, attribute)
  if (result < 0) throw new Internal(`bpf ${name} of ${what} failed with errno ${-result}`)
  return result
}

/** Pointers in attributes need the buffer to stay alive until the call has returned: keep it in a variable. */
function pointer(buffer: Buffer): bigint {
  return koffi.address(buffer)
}

function elementAttribute(map: number, key: Buffer, value?: Buffer): Buffer {
  const attribute = Buffer.alloc(32)
  attribute.writeUInt32LE(map, 0)
  attribute.writeBigUInt64LE(pointer(key), 8)
  if (value) attribute.writeBigUInt64LE(pointer(value), 16)
  return attribute
}

function pathAttribute(path: Buffer, descriptor = 0): Buffer {
  const attribute = Buffer.alloc(16)
  attribute.writeBigUInt64LE(pointer(path), 0)
  attribute.writeUInt32LE(descriptor, 8)
  return attribute
}

/** Opens a pinned map, program or link; the descriptor must be closed with `closeBpf`. Throws Internal. */
export function openPinned(path: string): number {
  const text = Buffer.from(`${path}\0`)
  return must('openPinned', pathAttribute(text), path)
}

/** Closes a descriptor of this module. */
export function closeBpf(descriptor: number): void {
  closeDescriptor(descriptor)
}

/** Attaches a `tp_btf` program to its tracepoint and pins the link at `path`, so that it outlives this process. */
export function attachTracepoint(program: string, path: string): void {
  attachAndPin(program, path, (descriptor) => {
    const attribute = Buffer.alloc(16)
    attribute.writeUInt32LE(descriptor, 8)
    return must('openTracepoint', attribute, program)
  })
}

/** Runs a `tc` program on every frame that arrives on an interface (tcx) and pins the link at `path`. */
export function attachTcx(program: string, interfaceIndex: number, path: string): void {
  attachAndPin(program, path, (descriptor) => must('createLink', tcxAttribute(descriptor, interfaceIndex), program))
}

/** Makes a file of an `iter/bpf_map_elem` program and a map, each a pin, at `path`. */
export function attachIterator(program: string, map: string, path: string): void {
  const mapDescriptor = openPinned(map)
  try {
    attachAndPin(program, path, (descriptor) => {
      const which = Buffer.alloc(8)
      which.writeUInt32LE(mapDescriptor, 0)
      const attribute = Buffer.alloc(64)
      attribute.writeUInt32LE(descriptor, 0)
      attribute.writeUInt32LE(mapIterator, 8)
      attribute.writeBigUInt64LE(pointer(which), 16)
      attribute.writeUInt32LE(which.length, 24)
      return must('createLink', attribute, program)
    })
  } finally {
    closeBpf(mapDescriptor)
  }
}

/** Opens the file of an open iterator anew, as who opens its pin does, also when that has gone. Throws Internal. */
export function openIterator(link: number): number {
  const attribute = Buffer.alloc(8)
  attribute.writeUInt32LE(link, 0)
  return must('createIterator', attribute, `link ${link}`)
}

/**
 * Runs a program on what arrives on an interface (tcx), in the place of `earlier` if given, until the interface goes.
 * Resolves with whether the kernel did; it waits for RCU some 12 ms with the lock of all interfaces held.
 */
export async function runAhead(program: number, interfaceIndex: number, earlier: number | undefined): Promise<boolean> {
  const attribute = Buffer.alloc(32)
  attribute.writeUInt32LE(interfaceIndex, 0)
  attribute.writeUInt32LE(program, 4)
  attribute.writeUInt32LE(tcxIngress, 8)
  if (earlier !== undefined) {
    attribute.writeUInt32LE(replaceProgram, 12)
    attribute.writeUInt32LE(earlier, 16)
  }
  return (await callAside('attachProgram', attribute)) >= 0
}

/** The kernel's numbers of the programs that run on what arrives on an interface by tcx. */
export function programsAhead(interfaceIndex: number): number[] {
  const numbers = Buffer.alloc(4 * mostAhead)
  const attribute = Buffer.alloc(64)
  attribute.writeUInt32LE(interfaceIndex, 0)
  attribute.writeUInt32LE(tcxIngress, 4)
  attribute.writeBigUInt64LE(pointer(numbers), 16)
  attribute.writeUInt32LE(mostAhead, 24)
  if (call('queryPrograms', attribute) < 0) return []
  const count = Math.min(attribute.readUInt32LE(24), mostAhead)
  return Array.from({ length: count }, (_, index) => numbers.readUInt32LE(4 * index))
}

/** Whether the kernel has tcx: 6.6 and later. */
export function isTcxSupported(): boolean {
  const [major = 0, minor = 0] = release().split('.').map(Number)
  return major > 6 || (major === 6 && minor >= 6)
}

/** Makes a pinned link run another pinned program, without a frame in between that sees neither. */
export function updateLink(path: string, program: string): void {
  const [link, descriptor] = [openPinned(path), openPinned(program)]
  try {
    const attribute = Buffer.alloc(16)
    attribute.writeUInt32LE(link, 0)
    attribute.writeUInt32LE(descriptor, 4)
    must('updateLink', attribute, path)
  } finally {
    closeBpf(link)
    closeBpf(descriptor)
  }
}

/** What a tcx link runs, by the kernel's number, and on which interface; that is 0 when it has gone. */
export function tcxLink(link: number): { program: number; interfaceIndex: number } {
  const information = objectInfo(link, `link ${link}`)
  return { program: information.readUInt32LE(8), interfaceIndex: information.readUInt32LE(16) }
}

/** The kernel's number of a pinned program. Throws Internal. */
export function pinnedProgramNumber(path: string): number {
  const program = openPinned(path)
  try {
    return programNumber(program)
  } finally {
    closeBpf(program)
  }
}

/** The kernel's number of an open program. */
export function programNumber(program: number): number {
  return objectInfo(program, `program ${program}`).readUInt32LE(4)
}

/** The kernel's number and name of an open program. */
export function programIdentity(program: number): { number: number; name: string } {
  const information = objectInfo(program, `program ${program}`)
  return { number: information.readUInt32LE(4), name: information.toString('latin1', 64, 80).replace(/\0.*$/s, '') }
}

/** Opens a program by the kernel's number, to be closed with `closeBpf`; undefined when it is gone. */
export function openProgram(number: number): number | undefined {
  const attribute = Buffer.alloc(16)
  attribute.writeUInt32LE(number, 0)
  const descriptor = call('openProgram', attribute)
  return descriptor < 0 ? undefined : descriptor
}

function objectInfo(descriptor: number, what: string): Buffer {
  const information = Buffer.alloc(96)
  const attribute = Buffer.alloc(16)
  attribute.writeUInt32LE(descriptor, 0)
  attribute.writeUInt32LE(information.length, 4)
  attribute.writeBigUInt64LE(pointer(information), 8)
  must('objectInfo', attribute, what)
  return information
}

function tcxAttribute(program: number, interfaceIndex: number): Buffer {
  const attribute = Buffer.alloc(64)
  attribute.writeUInt32LE(program, 0)
  attribute.writeUInt32LE(interfaceIndex, 4)
  attribute.writeUInt32LE(tcxIngress, 8)
  return attribute
}

/** Pins an open map, program or link at a path in a bpffs. Throws Internal. */
export function pinObject(descriptor: number, path: string): void {
  const text = Buffer.from(`${path}\0`)
  must('pin', pathAttribute(text, descriptor), path)
}

function attachAndPin(program: string, path: string, attach: (descriptor: number) => number): void {
  const descriptor = openPinned(program)
  try {
    const link = attach(descriptor)
    try {
      pinObject(link, path)
    } finally {
      closeBpf(link)
    }
  } finally {
    closeBpf(descriptor)
  }
}

/** What a test run of a program returned. */
export interface TestRunResult {
  returnValue: number
  output: Buffer
}

/**
 * Runs a `tc` program on a frame. Redirects are not carried out, copies (`bpf_clone_redirect`) are.
 * `context` is a `struct __sk_buff` of which the kernel accepts mark, priority, ifindex, cb and tstamp.
 */
export function runProgram(program: number, frame: Buffer, context: Buffer): TestRunResult {
  const output = Buffer.alloc(frame.length + 256)
  const attribute = Buffer.alloc(80)
  attribute.writeUInt32LE(program, 0)
  attribute.writeUInt32LE(frame.length, 8)
  attribute.writeUInt32LE(output.length, 12)
  attribute.writeBigUInt64LE(pointer(frame), 16)
  attribute.writeBigUInt64LE(pointer(output), 24)
  attribute.writeUInt32LE(context.length, 40)
  attribute.writeBigUInt64LE(pointer(context), 48)
  must('testRun', attribute, `program ${program}`)
  return { returnValue: attribute.readUInt32LE(4), output: output.subarray(0, attribute.readUInt32LE(12)) }
}

/** A pinned map, opened for reading and writing single elements. */
export class BpfMap {
  readonly #descriptor: number
  readonly #path: string
  readonly #value: Buffer
  #lookup: { key: Buffer; attribute: Buffer } | undefined
  #values: { keys: Buffer; values: Buffer } = { keys: Buffer.alloc(0), values: Buffer.alloc(0) }

  constructor(path: string, valueSize: number) {
    this.#descriptor = openPinned(path)
    this.#path = path
    this.#value = Buffer.alloc(valueSize)
  }

  /** The value of a key, or undefined. */
  get(key: Buffer): Buffer | undefined {
    const value = this.peek(key)
    return value && Buffer.from(value)
  }

  /** As `get`, good until the next call: hundreds are looked up every second, all through the same memory. */
  peek(key: Buffer): Buffer | undefined {
    if (this.#lookup?.key.length !== key.length) {
      const own = Buffer.alloc(key.length)
      this.#lookup = { key: own, attribute: elementAttribute(this.#descriptor, own, this.#value) }
    }
    key.copy(this.#lookup.key)
    const result = call('mapLookup', this.#lookup.attribute)
    if (result === -errnoNotFound) return undefined
    if (result < 0) throw new Internal(`bpf mapLookup in ${this.#path} failed with errno ${-result}`)
    return this.#value
  }

  /** The first `count` values of an array map, one after the other; good until the next call. One call of the kernel. */
  firstValues(count: number): Buffer {
    const size = this.#value.length
    if (this.#values.values.length < count * size) {
      this.#values = { keys: Buffer.alloc(count * 4), values: Buffer.alloc(count * size) }
    }
    if (count === 0) return this.#values.values.subarray(0, 0)
    const { keys, values } = this.#values
    const [next, attribute] = [Buffer.alloc(4), Buffer.alloc(56)]
    attribute.writeBigUInt64LE(pointer(next), 8)
    attribute.writeBigUInt64LE(pointer(keys), 16)
    attribute.writeBigUInt64LE(pointer(values), 24)
    attribute.writeUInt32LE(count, 32)
    attribute.writeUInt32LE(this.#descriptor, 36)
    const result = call('mapLookupBatch', attribute)
    const isWhole = attribute.readUInt32LE(32) === count // who asks for all of them is told that there are no more
    if (!isWhole) throw new Internal(`bpf mapLookupBatch in ${this.#path} failed with errno ${-result}`)
    return values.subarray(0, count * size)
  }

  set(key: Buffer, value: Buffer): void {
    must('mapUpdate', elementAttribute(this.#descriptor, key, value), this.#path)
  }

  /** Deletes a key; nothing happens when it is not there. */
  delete(key: Buffer): void {
    const result = call('mapDelete', elementAttribute(this.#descriptor, key))
    if (result < 0 && result !== -errnoNotFound) {
      throw new Internal(`bpf mapDelete in ${this.#path} failed with errno ${-result}`)
    }
  }

  /** All keys of `keySize` bytes. One that goes meanwhile makes the kernel begin anew: then some come twice. */
  keys(keySize: number): Buffer[] {
    const found: Buffer[] = []
    let last: Buffer | undefined
    for (;;) {
      const next = Buffer.alloc(keySize)
      const attribute = Buffer.alloc(32)
      attribute.writeUInt32LE(this.#descriptor, 0)
      if (last) attribute.writeBigUInt64LE(pointer(last), 8)
      attribute.writeBigUInt64LE(pointer(next), 16)
      const result = call('mapNextKey', attribute)
      if (result === -errnoNotFound || found.length >= mostKeys) return found
      if (result < 0) throw new Internal(`bpf mapNextKey in ${this.#path} failed with errno ${-result}`)
      found.push(next)
      last = next
    }
  }

  close(): void {
    closeBpf(this.#descriptor)
  }
}
