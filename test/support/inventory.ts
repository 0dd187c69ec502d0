import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect } from 'vitest'
import { nodePlaces, places, type Lab } from '../../lab/index.ts'
import { AddressClaim, Endpoint, l2DomainOf, MacClaim, Network } from '../../src/api/index.ts'
import { decodeAlias } from '../../src/network/soft-vf/interface-alias.ts'
import { decodeEndpoint } from '../../src/network/soft-vf/map-layout.ts'
import type { Sandbox } from './sandboxes.ts'

/** A container that a runtime has attached, by eth0 alone unless told. */
export type Attached = Pick<Sandbox, 'node' | 'id'> & { interfaceNames?: string[] }

/** Traces of one slot of a node, as the kernel has them. */
interface SlotTraces {
  interfaceOf?: string
  entryOf?: string
  forwardingOf?: string[]
  hasClass?: boolean
  /** Bits per second, as the map entry has it. */
  floor?: number
  hasCounters?: boolean
  hasHook?: boolean
}

/**
 * Waits until kernels, journals and store agree with each other and with what runtimes have attached: every endpoint
 * there once, with everything that belongs to it, and nothing else anywhere. Fails with what still differs after 20 s.
 */
export async function expectNothingElse(lab: Lab, attached: Attached[], nodes = lab.nodes): Promise<void> {
  await expect
    .poll(() => findDifferences(lab, attached, nodes), {
      timeout: 20_000,
      interval: 100,
      message: 'differences between runtimes, store, journals and kernels; none are expected',
    })
    .toEqual([])
}

/** Everything on some nodes that is not as it should be when exactly `attached` is attached there. */
async function findDifferences(lab: Lab, attached: Attached[], nodes = lab.nodes): Promise<string[]> {
  const { items } = await lab.store.list(Endpoint)
  const differences = await Promise.all(nodes.map((node) => differencesOnNode(lab, node, items)))
  const isWhole = nodes.length === lab.nodes.length
  return [
    ...differencesOfHolders(items, attached, nodes),
    ...differences.flat(),
    ...(isWhole ? await differencesOfClaims(lab, items) : []),
  ]
}

function differencesOfHolders(endpoints: Endpoint[], attached: Attached[], nodes: string[]): string[] {
  const held = endpoints
    .filter(({ spec }) => spec.holder && nodes.includes(spec.nodeName!))
    .map(({ spec }) => `${spec.holder!.containerId} ${spec.holder!.interfaceName} on ${spec.nodeName}`)
  const wanted = attached
    .filter(({ node }) => nodes.includes(node))
    .flatMap(({ id, node, interfaceNames = ['eth0'] }) => interfaceNames.map((name) => `${id} ${name} on ${node}`))
  const kept = endpoints.filter(({ spec, metadata }) => {
    const isHere = nodes.includes(spec.nodeName!) || !spec.nodeName
    return isHere && ((!spec.isStatic && !spec.holder) || metadata.deletionTimestamp !== undefined)
  })
  return [
    ...compareSets('endpoint of the store for container', held, wanted),
    ...kept.map(({ metadata }) => `endpoint ${metadata.name} is still there`),
  ]
}

async function differencesOnNode(lab: Lab, node: string, endpoints: Endpoint[]): Promise<string[]> {
  const here = endpoints.filter(({ spec }) => spec.nodeName === node && spec.holder)
  const ids = here.map(({ metadata }) => metadata.uid!)
  const [slots, journal] = [await readSlots(lab, node), readJournal(node)]
  const isShaped = slots.values().some(({ floor = 0 }) => floor > 0) // classes are there while a floor is promised
  const reported = here.filter(({ status }) => status?.attachment?.nodeName === node)
  return [
    ...compareSets('host interface of', present(slots, 'interfaceOf'), ids),
    ...compareSets('map entry of', present(slots, 'entryOf'), ids),
    ...compareSets('record in the journal of', journal, ids.map((id) => `${id} attached`)),
    ...compareSets('reported attachment of', reported.map(({ metadata }) => metadata.uid!), ids),
    ...[...slots].flatMap(([slot, traces]) => differencesOfSlot(slot, traces, here, isShaped)),
  ].map((text) => `${node}: ${text}`) // prettier-ignore
}

function differencesOfSlot(slot: number, traces: SlotTraces, endpoints: Endpoint[], isShaped: boolean): string[] {
  const { interfaceOf, entryOf, forwardingOf = [], hasClass = false, hasCounters = false, hasHook = false } = traces
  const problems: string[] = []
  const owner = endpoints.find(({ metadata }) => metadata.uid === entryOf)
  const isUsed = owner !== undefined
  if (interfaceOf !== entryOf) problems.push(`interface of ${interfaceOf} but map entry of ${entryOf}`)
  if (hasClass !== (isUsed && isShaped))
    problems.push(hasClass ? 'a traffic class that nothing uses' : 'no traffic class')
  if (hasCounters !== isUsed) problems.push(hasCounters ? 'counters that nothing uses' : 'no counters')
  if (hasHook !== isUsed) problems.push(hasHook ? 'a pinned link that nothing uses' : 'no program on the interface')
  const allocation = owner?.status?.allocation
  const expected = allocation?.state === 'Allocated' ? [`${allocation.macAddress}@${allocation.vlan}`] : []
  problems.push(...compareSets('forwarding entry', forwardingOf, expected))
  return problems.map((problem) => `slot ${slot}: ${problem}`)
}

async function differencesOfClaims(lab: Lab, endpoints: Endpoint[]): Promise<string[]> {
  const [addresses, macs, networks] = await Promise.all([
    lab.store.list(AddressClaim),
    lab.store.list(MacClaim),
    lab.store.list(Network),
  ])
  const allocated = endpoints.flatMap((endpoint) => {
    const allocation = endpoint.status?.allocation
    const network = networks.items.find(({ metadata }) => metadata.name === endpoint.spec.networkName)
    if (allocation?.state !== 'Allocated' || !network) return []
    const claims = [allocation.macAddress, ...allocation.addresses.map(({ address }) => address)]
    return claims.map((claim) => `${claim} in ${l2DomainOf(network)} by ${endpoint.metadata.uid}`)
  })
  const claimed = [
    ...addresses.items.map(({ spec }) => `${spec.address} in ${spec.l2Domain} by ${spec.endpoint.uid}`),
    ...macs.items.map(({ spec }) => `${spec.macAddress} in ${spec.l2Domain} by ${spec.endpoint.uid}`),
  ]
  return compareSets('claim of', claimed, allocated)
}

/** What is there too often, or without being wanted, or wanted and not there. */
function compareSets(what: string, actual: string[], wanted: string[]): string[] {
  const twice = actual.filter((each, index) => actual.indexOf(each) !== index)
  return [
    ...twice.map((each) => `two of: ${what} ${each}`),
    ...actual.filter((each) => !wanted.includes(each)).map((each) => `unexpected: ${what} ${each}`),
    ...wanted.filter((each) => !actual.includes(each)).map((each) => `missing: ${what} ${each}`),
  ]
}

function present(slots: Map<number, SlotTraces>, key: 'interfaceOf' | 'entryOf'): string[] {
  return [...slots.values()].flatMap((traces) => traces[key] ?? [])
}

/** Names of the interfaces that run our program: a pinned link each, or a filter where the kernel has no such links. */
const hookedInterfaces =
  `ls ${nodePlaces.bpffs}/links 2> /dev/null || ` +
  'for path in /sys/class/net/cbn*; do tc filter show dev ${path##*/} ingress | grep -q bpf && echo ${path##*/}; done; true'

/** Everything that the kernel of a node has of endpoints, by slot. */
async function readSlots(lab: Lab, node: string): Promise<Map<number, SlotTraces>> {
  const slots = new Map<number, SlotTraces>()
  const traces = (slot: number): SlotTraces => {
    if (!slots.has(slot)) slots.set(slot, {})
    return slots.get(slot)!
  }
  const run = async (...command: string[]): Promise<string> => (await lab.nodeExec(node, command)).stdout
  const [links, classes, entries, forwarding, counters, hooks] = await Promise.all([
    run('ip', '-json', 'link', 'show', 'type', 'veth'),
    run('tc', 'class', 'show', 'dev', 'eth0'),
    dumpMap(lab, node, 'endpoints'),
    dumpMap(lab, node, 'forwarding'),
    run('sh', '-c', `od -An -v -tx1 -w392 ${nodePlaces.bpffs}/v*-counters | cut -c 1-12`),
    run('sh', '-c', hookedInterfaces),
  ])
  for (const { ifname, ifalias } of JSON.parse(links) as { ifname: string; ifalias?: string }[]) {
    if (ifname === 'eth0' || ifname.startsWith('veth')) continue // the uplink, and what other plugins make
    traces(Number(ifname.replace('cbn', ''))).interfaceOf = decodeAlias(ifalias)?.endpointId ?? `nobody (${ifname})`
  }
  for (const [, minor] of classes.matchAll(/^class htb 1:([0-9a-f]+) /gm)) {
    if (!['ffff', 'fffe'].includes(minor!)) traces(parseInt(minor!, 16)).hasClass = true
  }
  for (const { key, value } of entries) {
    if (value.every((byte) => byte === '0x00')) continue
    const { endpointId, bandwidthFloor } = decodeEndpoint(hexBytes(value))!
    Object.assign(traces(hexBytes(key).readUInt32LE()), { entryOf: endpointId, floor: bandwidthFloor })
  }
  for (const { key, value } of forwarding) {
    const mac = hexBytes(key)
      .toString('hex', 0, 6)
      .replace(/(..)(?!$)/g, '$1:')
    const slot = traces(hexBytes(value).readUInt32LE())
    slot.forwardingOf = [...(slot.forwardingOf ?? []), `${mac}@${hexBytes(key).readUInt16LE(6)}`]
  }
  for (const line of counters.trim().split('\n').filter(Boolean)) {
    traces(Buffer.from(line.replaceAll(' ', ''), 'hex').readUInt32LE()).hasCounters = true
  }
  for (const [, slot] of hooks.matchAll(/^cbn(\d+)$/gm)) traces(Number(slot)).hasHook = true
  return slots
}

/** All elements of a map of a node, as bytes in hexadecimal. */
export async function dumpMap(lab: Lab, node: string, map: string): Promise<{ key: string[]; value: string[] }[]> {
  const command = ['bpftool', '-j', 'map', 'dump', 'pinned', `${nodePlaces.bpffs}/maps/${map}`]
  return JSON.parse((await lab.nodeExec(node, command)).stdout) as []
}

/** The bytes of an element as bpftool prints them. */
export function hexBytes(bytes: string[]): Buffer {
  return Buffer.from(bytes.map(Number))
}

/** `ENDPOINT-ID STATE` of each record of a node's journal. Reads a copy, because the agent holds the journal for itself. */
export function readJournal(node: string): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'carbonado-journal-'))
  try {
    const file = join(places.disk(node), nodePlaces.agentState, 'journal.db')
    for (const suffix of ['', '-wal']) {
      if (existsSync(file + suffix)) copyFileSync(file + suffix, join(folder, `journal.db${suffix}`))
    }
    using database = new DatabaseSync(join(folder, 'journal.db'))
    return database
      .prepare('select body from record')
      .all()
      .map(({ body }) => JSON.parse(String(body).replace(/^\d+ /, '')) as { endpointId: string; state: string })
      .map(({ endpointId, state }) => `${endpointId} ${state}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
