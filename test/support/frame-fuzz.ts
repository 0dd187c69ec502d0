import { randomUUID } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { expect } from 'vitest'
import type { AttachRequest, EndpointCounters, NetworkEngine } from '../../src/network/engine.ts'
import { closeBpf, openPinned, runProgram } from '../../src/network/soft-vf/bpf-system-call.ts'
import { linkLocalBytes, macBytes } from '../../src/network/soft-vf/map-layout.ts'
import { FrameMutations, type Identity } from './frame-mutations.ts'
import { whyDishonest } from './frame-oracle.ts'
import { addressBytes } from '../../src/network/addresses/ip-address.ts'
import { container, makeNode, pins, startEngine } from './one-node.ts'
import { enterOwnNamespaces, run } from './own-namespaces.ts'
import { RawSocket } from './raw-socket.ts'
import { seededRandom, type Random } from './random.ts'

const verdicts = { ok: 0, shot: 2, redirect: 7 }
const own: Identity = {
  mac: '02:00:00:00:00:0a',
  ipv4: '10.30.0.10',
  ipv6: 'fd00:30::10',
  linkLocal: 'fe80::ff:fe00:a',
}
const other: Identity = { mac: '02:00:00:00:00:0b', ipv4: '10.30.0.11', ipv6: 'fd00:30::11', linkLocal: 'fe80::ff:fe00:b' } // prettier-ignore

const speaker = {
  mac: macBytes(own.mac),
  ipv4: addressBytes(own.ipv4),
  ipv6: [addressBytes(own.ipv6), linkLocalBytes(own.mac)],
}
const truncatedFrames = 5_000
/** What the container's kernel may send of itself meanwhile: solicitations, multicast reports. */
const ownFrames = 20

/** What became of the frames. */
export interface FrameFuzzTally {
  passed: number
  dropped: number
  delivered: number
}

/**
 * Gives `count` malformed frames to the program of an endpoint and as many to that of the wire. Whatever the first lets
 * pass must be honest by the oracle; each is counted once as sent or dropped; the second delivers only to whom a frame
 * is addressed; no map entry changes, and no memory is kept. Needs a process of its own.
 */
export async function fuzzPrograms(count: number): Promise<FrameFuzzTally> {
  const random = seededRandom()
  console.log(`${count} frames: CARBONADO_SEED=${random.seed}`)
  enterOwnNamespaces()
  makeNode()
  const engine = await startEngine()
  const request = container(10, { endpointId: randomUUID(), macAddress: own.mac }) // prettier-ignore
  await engine.attach(request)
  try {
    await sendTruncated(engine, new FrameMutations(random.fork(1), own, other), random.fork(2), request)
    return checkAround(engine, count, () => {
      const mutations = new FrameMutations(random, own, other)
      const sent = fuzzSender(mutations, count)
      return { ...sent, delivered: fuzzWire(mutations, count) }
    })
  } finally {
    await engine.stop()
  }
}

function fuzzSender(mutations: FrameMutations, count: number): { passed: number; dropped: number } {
  let passed = 0
  runEach('from_endpoint', 65537, mutations, count, (frame, verdict) => {
    if (verdict === verdicts.shot) return
    if (verdict !== verdicts.redirect) throw new Error(`verdict ${verdict} for ${frame.toString('hex')}`)
    passed++
    const why = whyDishonest(frame, speaker)
    if (why) throw new Error(`a dishonest frame passes, ${why}: ${frame.toString('hex')}`)
  })
  return { passed, dropped: count - passed }
}

function fuzzWire(mutations: FrameMutations, count: number): number {
  const [owner, sender] = [macBytes(own.mac), macBytes(other.mac)]
  let delivered = 0
  const towards = { next: () => addressed(mutations.next(), owner, sender) }
  runEach('from_wire', 1, towards, count, (frame, verdict) => {
    if (verdict === verdicts.ok || verdict === verdicts.shot) return
    if (verdict !== verdicts.redirect) throw new Error(`verdict ${verdict} for ${frame.toString('hex')}`)
    delivered++
    if (!frame.subarray(0, 6).equals(owner)) throw new Error(`delivered to another MAC: ${frame.toString('hex')}`)
  })
  return delivered
}

/** As a frame from elsewhere: every other one to the endpoint. Multicast is left out, whose copies really go out. */
function addressed(frame: Buffer, owner: Buffer, sender: Buffer): Buffer {
  sender.copy(frame, 6)
  if (frame[20]! & 1) owner.copy(frame, 0)
  frame[0]! &= 0xfe
  return frame
}

function runEach(
  name: string,
  interfaceIndex: number,
  frames: { next(): Buffer },
  count: number,
  judge: (frame: Buffer, verdict: number) => void,
): void {
  const version = readdirSync(pins).find((entry) => /^v[0-9a-f]+$/.test(entry))!
  const program = openPinned(`${pins}/${version}/${name}`)
  const context = Buffer.alloc(192)
  context.writeUInt32LE(interfaceIndex, 40) // __sk_buff ifindex
  try {
    for (let index = 0; index < count; index++) {
      const frame = longEnough(frames.next())
      judge(frame, runProgram(program, frame, context).returnValue)
    }
  } finally {
    closeBpf(program)
  }
}

/** The kernel's test runs take no frame that is shorter than the header its type calls for; `sendTruncated` does. */
function longEnough(frame: Buffer): Buffer {
  const type = frame.readUInt16BE(12)
  const least = type === 0x86dd ? 54 : type === 0x0800 ? 34 : 15
  return frame.length < least ? Buffer.concat([frame, Buffer.alloc(least - frame.length)]) : frame
}

/** Really sends frames that are cut off somewhere in their headers; those that are honest all the same are counted. */
async function sendTruncated(
  engine: NetworkEngine,
  mutations: FrameMutations,
  random: Random,
  request: AttachRequest,
): Promise<void> {
  using socket = new RawSocket(request.netns, interfaceIndexOf(request))
  const before = countedFrames(engine)
  const sentBefore = engine.counters()[0]!.sentPackets
  let honest = 0
  for (let sent = 0; sent < truncatedFrames;) {
    const cut = truncated(mutations.next(), random)
    if (isCutInTag(cut)) continue
    if (!whyDishonest(cut, speaker)) honest++
    socket.send(cut)
    sent++
  }
  await expect
    .poll(() => countedFrames(engine) - before, { message: 'truncated frames, each counted' })
    .toBeGreaterThanOrEqual(truncatedFrames)
  expectAbout(countedFrames(engine) - before, truncatedFrames)
  const passed = engine.counters()[0]!.sentPackets - sentBefore
  expect(passed, 'truncated frames that passed').toBeLessThanOrEqual(honest + ownFrames)
}

function checkAround(engine: NetworkEngine, count: number, fuzz: () => FrameFuzzTally): FrameFuzzTally {
  const before = { maps: dumpMaps(), counted: countedFrames(engine), frames: framesInKernel() }
  const tally = fuzz()
  expect(dumpMaps(), 'map entries').toEqual(before.maps)
  expectAbout(countedFrames(engine) - before.counted, tally.passed + tally.dropped)
  expect(framesInKernel() - before.frames, 'frames that the kernel still holds').toBeLessThan(count / 2)
  return tally
}

function truncated(frame: Buffer, random: Random): Buffer {
  return frame.subarray(0, 15 + random.below(Math.max(1, Math.min(60, frame.length - 14))))
}

/** These the kernel drops itself, before any program. */
function isCutInTag(frame: Buffer): boolean {
  return frame.length < 20 && [0x8100, 0x88a8].includes(frame.readUInt16BE(12))
}

function expectAbout(counted: number, given: number): void {
  expect(counted - given, 'frames counted more than once').toBeLessThanOrEqual(ownFrames)
  expect(counted - given, 'frames not counted').toBeGreaterThanOrEqual(0)
}

function interfaceIndexOf({ netns }: AttachRequest): number {
  const [link] = JSON.parse(run('nsenter', `--net=${netns}`, 'ip', '-json', 'link', 'show', 'eth0')) as [
    { ifindex: number },
  ]
  return link.ifindex
}

function countedFrames(engine: NetworkEngine): number {
  const [{ sentPackets, drops }] = engine.counters() as [EndpointCounters]
  return sentPackets + Object.values(drops).reduce((sum, drop) => sum + drop, 0)
}

function dumpMaps(): string[] {
  return ['endpoints', 'forwarding', 'configuration'].map((map) => run('sh', '-c', `bpftool map dump pinned ${pins}/maps/${map} | sha256sum`)) // prettier-ignore
}

/** Frames of the whole machine: those of others come and go by thousands, where one kept for each of ours would show. */
function framesInKernel(): number {
  return Number(/^skbuff_head_cache\s+(\d+)/m.exec(run('cat', '/proc/slabinfo'))![1])
}
