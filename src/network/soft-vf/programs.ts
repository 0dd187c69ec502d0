import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { exec } from '../../base/index.ts'
import {
  attachIterator,
  attachTracepoint,
  BpfMap,
  closeBpf,
  openPinned,
  pinnedProgramNumber,
  runProgram,
} from './bpf-system-call.ts'
import { duplicateSize } from './duplicate-layout.ts'
import { ForwardingTable } from './forwarding-table.ts'
import { IteratorFile } from './iterator-file.ts'
import { countersSize, endpointSize, foundReceivers, freshCounters, slotKey, trafficSize } from './map-layout.ts'
import { possibleProcessors } from './processors.ts'
import { arrivalSize, limitSize, limitStateSize, type ReceiveMaps } from './receive-control.ts'

/** Where compiled programs are and where the kernel keeps them. */
export interface ProgramLocations {
  /** Folder with soft-vf.o and arrivals-iterator.o. */
  objects: string
  /** Folder in a bpffs, one for each node. */
  pins: string
}

const mapNames = [
  'endpoints',
  'forwarding',
  'places',
  'counters',
  'slot_groups',
  'traffic',
  'buckets',
  'receive_buckets',
  'configuration',
  'heard',
  'duplicates',
  'arrivals',
  'limits',
  'limit_states',
] as const
const objectNames = ['soft-vf.o', 'arrivals-iterator.o'] as const
const flagsOffset = 12
const contextSize = 192
const contextControlBlockOffset = 48

/** What the maps say of slots. */
export interface SlotEntries {
  /** Their entries, one after the other. */
  endpoints: Buffer
  /** Of each slot that is counted, whether frames to the endpoint of its entry find it. */
  found: ReadonlyMap<number, boolean>
}

/** The loaded programs and maps of a node. */
export class Programs {
  readonly endpoints: BpfMap
  readonly forwarding: ForwardingTable
  readonly heard: BpfMap
  readonly duplicates: BpfMap
  /** What the receive guarantee works with. */
  readonly receiving: ReceiveMaps
  /** Descriptor of the program for what containers send. */
  readonly fromEndpoint: number
  readonly fromLimiter: number
  /** Path of the program for what arrives on the uplink, and the kernel's number of it. */
  readonly fromWire: string
  readonly fromWireNumber: number
  /** Whether this start loaded new programs, so that filters must be pointed at them. */
  readonly fresh: boolean
  readonly #configuration: BpfMap
  readonly #counters: BpfMap
  readonly #traffic: BpfMap
  readonly #dequeued: { program: string; link: string }
  readonly #countersFile: IteratorFile
  readonly #sendFrame: number

  constructor(pins: string, version: string, fresh: boolean) {
    const maps = join(pins, 'maps')
    this.endpoints = new BpfMap(join(maps, 'endpoints'), endpointSize)
    this.forwarding = new ForwardingTable(join(maps, 'forwarding'), join(maps, 'places'))
    this.#counters = new BpfMap(join(maps, 'counters'), countersSize)
    this.#traffic = new BpfMap(join(maps, 'traffic'), trafficSize * possibleProcessors())
    this.heard = new BpfMap(join(maps, 'heard'), 8)
    this.duplicates = new BpfMap(join(maps, 'duplicates'), duplicateSize)
    this.#configuration = new BpfMap(join(maps, 'configuration'), 16)
    this.receiving = {
      limits: new BpfMap(join(maps, 'limits'), limitSize),
      limitStates: new BpfMap(join(maps, 'limit_states'), limitStateSize),
      arrivals: new BpfMap(join(maps, 'arrivals'), arrivalSize),
      arrivalsFile: new IteratorFile(join(pins, `${version}-arrivals`)),
      readCounters: () => this.readCounters(),
      setFlag: (flag, isSet) => this.#setFlag(flag, isSet),
    }
    this.fromEndpoint = openPinned(join(pins, version, 'from_endpoint'))
    this.fromLimiter = openPinned(join(pins, version, 'from_limiter'))
    this.fromWire = join(pins, version, 'from_wire')
    this.fromWireNumber = pinnedProgramNumber(this.fromWire)
    this.#dequeued = { program: join(pins, version, 'dequeued'), link: join(pins, `${version}-dequeued`) }
    this.#countersFile = new IteratorFile(join(pins, `${version}-counters`))
    this.#sendFrame = openPinned(join(pins, version, 'send_frame'))
    this.fresh = fresh
  }

  /** Counts for the endpoint in a slot from nothing. */
  startCounting(slot: number): void {
    this.#traffic.set(slotKey(slot), Buffer.alloc(trafficSize * possibleProcessors()))
    this.#counters.set(slotKey(slot), freshCounters())
  }

  /** What the maps say of the first `count` slots; good until the next call. */
  readSlots(count: number): SlotEntries {
    return { endpoints: this.endpoints.firstValues(count), found: foundReceivers(this.readCounters()) }
  }

  /** Nobody is in the slot. */
  stopCounting(slot: number): void {
    this.#counters.set(slotKey(slot), Buffer.alloc(countersSize))
  }

  /**
   * Tells the programs the uplink, and whether it has classes (as before unless told); the network namespace is this
   * process's own. What leaves queues is looked at only where it has: every queue of the machine pays for that.
   */
  configure(uplinkIndex: number, isShaped = this.#configuration.get(slotKey(0))!.readUInt32LE(8) === 1): void {
    const value = Buffer.alloc(16)
    value.writeUInt32LE(uplinkIndex, 0)
    value.writeUInt32LE(Number(/\[(\d+)\]/.exec(readlinkSync('/proc/self/ns/net'))![1]), 4)
    value.writeUInt32LE(isShaped ? 1 : 0, 8)
    value.writeUInt32LE(this.#configuration.get(slotKey(0))!.readUInt32LE(flagsOffset), flagsOffset)
    this.#configuration.set(slotKey(0), value)
    this.#watchQueues(isShaped)
  }

  #watchQueues(isShaped: boolean): void {
    const { program, link } = this.#dequeued
    if (!isShaped) rmSync(link, { force: true })
    else if (!existsSync(link)) attachTracepoint(program, link)
  }

  /** Whether the programs know the uplink and whether it has classes as `configure` told them. */
  isConfigured(uplinkIndex: number, isShaped: boolean): boolean {
    const value = this.#configuration.get(slotKey(0))!
    const isWatched = existsSync(this.#dequeued.link)
    return (
      value.readUInt32LE(0) === uplinkIndex && value.readUInt32LE(8) === (isShaped ? 1 : 0) && isWatched === isShaped
    )
  }

  #setFlag(flag: number, isSet: boolean): void {
    const value = this.#configuration.get(slotKey(0))!
    const before = value.readUInt32LE(flagsOffset)
    const flags = isSet ? before | flag : before & ~flag
    if (flags === before) return
    value.writeUInt32LE(flags, flagsOffset)
    this.#configuration.set(slotKey(0), value)
  }

  /** All counters in use, as `CountersReader` reads them; good until the next call. */
  readCounters(): Buffer {
    return this.#countersFile.read()
  }

  /** Sends a frame out of the uplink on a VLAN (0: untagged), and to the VLAN's local members if asked. */
  sendFrame(frame: Buffer, vlan: number, locallyToo: boolean): void {
    const context = Buffer.alloc(contextSize)
    context.writeUInt32LE(vlan, contextControlBlockOffset)
    context.writeUInt32LE(locallyToo ? 1 : 0, contextControlBlockOffset + 4)
    runProgram(this.#sendFrame, frame, context)
  }

  close(): void {
    const { endpoints, forwarding, heard, duplicates } = this
    const { limits, limitStates, arrivals, arrivalsFile } = this.receiving
    for (const map of [endpoints, forwarding, heard, duplicates, limits, limitStates, arrivals]) map.close()
    for (const map of [this.#configuration, this.#counters, this.#traffic]) map.close()
    closeBpf(this.#sendFrame)
    for (const file of [this.#countersFile, arrivalsFile]) file.close()
    closeBpf(this.fromEndpoint)
    closeBpf(this.fromLimiter)
  }
}

/**
 * Loads the programs, or adopts them when the same build is loaded already. A new build takes over the maps of the old
 * one, so that endpoints and counters stay. A version of which a pin is missing, because the load was not finished or
 * somebody removed it, is loaded again.
 */
export async function loadPrograms(locations: ProgramLocations): Promise<Programs> {
  const version = versionOf(locations.objects)
  const fresh = !isComplete(join(locations.pins, version))
  if (fresh) await load(locations, version)
  return new Programs(locations.pins, version, fresh)
}

/** The counters file is the last pin of a load; any of the others may have been removed by hand since. */
function isComplete(programs: string): boolean {
  const inFolder = ['from_endpoint', 'from_limiter', 'from_wire', 'dequeued', 'send_frame'].map((name) =>
    join(programs, name),
  )
  return [...inFolder, `${programs}-arrivals`, `${programs}-counters`].every((path) => existsSync(path))
}

/** Removes the pins of other versions; call it once no filter points at them. */
export function removeOldVersions(locations: ProgramLocations): void {
  const version = versionOf(locations.objects)
  for (const name of readdirSync(locations.pins)) {
    if (!['maps', 'uplink'].includes(name) && !name.startsWith(version))
      rmSync(join(locations.pins, name), { recursive: true })
  }
}

function versionOf(objects: string): string {
  const hash = createHash('sha256')
  for (const name of objectNames) hash.update(readFileSync(join(objects, name)))
  return `v${hash.digest('hex').slice(0, 12)}`
}

/** Maps that an earlier build did not have join the others; pins of those that were taken over are surplus. */
function keepNewMaps(fresh: string, maps: string): void {
  mkdirSync(maps, { recursive: true })
  for (const name of mapNames) if (!existsSync(join(maps, name))) renameSync(join(fresh, name), join(maps, name))
  rmSync(fresh, { recursive: true })
}

async function load({ objects, pins }: ProgramLocations, version: string): Promise<void> {
  const programs = join(pins, version)
  const maps = join(pins, 'maps')
  mkdirSync(pins, { recursive: true })
  for (const left of [programs, `${programs}-dequeued`, `${programs}-arrivals`, `${programs}-counters`])
    rmSync(left, { recursive: true, force: true })
  const object = join(objects, 'soft-vf.o')
  const known = mapNames.filter((name) => existsSync(join(maps, name)))
  const reuse = known.flatMap((name) => ['map', 'name', name, 'pinned', join(maps, name)])
  const fresh = `${maps}-new` // bpffs takes no dots
  rmSync(fresh, { recursive: true, force: true })
  await exec(['bpftool', 'prog', 'loadall', object, programs, ...reuse, 'pinmaps', fresh])
  keepNewMaps(fresh, maps)
  const iterator = join(objects, 'arrivals-iterator.o')
  await exec(['bpftool', 'iter', 'pin', iterator, `${programs}-arrivals`, 'map', 'pinned', join(maps, 'arrivals')])
  attachIterator(join(programs, 'counters_file'), join(maps, 'slot_groups'), `${programs}-counters`)
}
