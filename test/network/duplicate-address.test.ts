import { readdirSync, rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { silentLogger } from '../../src/base/index.ts'
import { DuplicateWatch } from '../../src/network/duplicate-watch.ts'
import type { AttachRequest, NetworkEngine } from '../../src/network/engine.ts'
import type { EventNotice } from '../../src/store/index.ts'
import { container, makeNode, pins, startEngine } from '../support/one-node.ts'
import { enterOwnNamespaces, runIn } from '../support/own-namespaces.ts'

let engine: NetworkEngine
let request: AttachRequest
let watch: DuplicateWatch | undefined
/** How much faster than the world's the watch's time runs, so that the test need not wait for so long. */
const haste = 5
const events: Pick<EventNotice, 'reason' | 'note'>[] = []

beforeAll(async () => {
  enterOwnNamespaces()
  makeNode()
  engine = await startEngine()
})
afterAll(async () => {
  watch?.stop()
  await engine.stop()
})

describe('an address that a host on the wire uses too', () => {
  it('is found by asking after the attach, for IPv4 and IPv6', async () => {
    request = container(10)
    runIn('wire', 'ip', 'address', 'add', '10.30.0.10/24', 'dev', 'port')
    runIn('wire', 'ip', 'address', 'add', 'fd00:30::10/64', 'dev', 'port', 'nodad')
    await engine.attach(request)
    watch = new DuplicateWatch({
      engine: {
        probeAddresses: (id) => engine.probeAddresses(id),
        foreignUses: () => engine.foreignUses().map((use) => ({ ...use, sinceHeard: use.sinceHeard * haste })),
      },
      now: () => performance.now() * haste,
      attached: () => [{ endpointId: request.endpointId, namespace: 'default', name: 'container10' }],
      events: { record: ({ reason, note }) => void events.push({ reason, note }) },
      logger: silentLogger(),
    })
    watch.start()
    await expect.poll(() => watch!.duplicates().map(({ address }) => address).sort(), { timeout: 20_000 }).toEqual(['10.30.0.10', 'fd00:30::10']) // prettier-ignore
    const [mac] = /([0-9a-f]{2}:){5}[0-9a-f]{2}/.exec(runIn('wire', 'ip', 'link', 'show', 'port')) ?? []
    expect(new Set(watch!.duplicates().map(({ macAddress }) => macAddress))).toEqual(new Set([mac]))
    expect(events.map(({ reason, note }) => ({ reason, note: note.includes(mac!) }))).toEqual(
      Array.from({ length: 2 }, () => ({ reason: 'DuplicateAddress', note: true })),
    )
  })

  it('is gone some time after the host has let go of it', { timeout: 60_000 }, async () => {
    runIn('wire', 'ip', 'address', 'del', '10.30.0.10/24', 'dev', 'port')
    runIn('wire', 'ip', 'address', 'del', 'fd00:30::10/64', 'dev', 'port')
    await expect.poll(() => watch!.duplicates(), { timeout: 30_000, interval: 200 }).toEqual([])
    expect(events.filter(({ reason }) => reason === 'DuplicateAddressGone')).toHaveLength(2)
  })

  it('is found when the host comes later and speaks', async () => {
    await delay(100)
    expect(watch!.duplicates()).toEqual([])
    runIn('wire', 'ip', 'address', 'add', '10.30.0.10/32', 'dev', 'port')
    runIn('wire', 'sh', '-c', 'ping -c 1 -W 1 -I 10.30.0.10 10.30.0.99 || true')
    await expect.poll(() => watch!.duplicates().map(({ address }) => address), { timeout: 20_000 }).toEqual(['10.30.0.10']) // prettier-ignore
    runIn('wire', 'ip', 'address', 'del', '10.30.0.10/32', 'dev', 'port')
  })

  it('of another container, an earlier one in the same slot, is not blamed on the new one', async () => {
    await engine.detach(request.endpointId)
    await expect.poll(() => engine.attached(), { timeout: 20_000 }).toEqual([])
    await delay(300)
    const next = container(11)
    await engine.attach(next)
    expect(engine.foreignUses()).toEqual([])
    await engine.detach(next.endpointId)
  })
})

describe('a MAC of a container that a host on the wire uses too', () => {
  it('is found when that host speaks, without an address of ours', async () => {
    const victim = container(13)
    await engine.attach(victim)
    expect(engine.foreignUses().filter(({ endpointId }) => endpointId === victim.endpointId)).toEqual([])
    runIn('wire', 'ip', 'link', 'set', 'port', 'address', victim.macAddress)
    const asked = ['ping', '-q', '-c', '2', '-i', '0.2', '-W', '0.1', '10.30.0.98'] // nobody has that: broadcasts
    runIn('wire', 'sh', '-c', `${asked.join(' ')} || true`)
    const uses = engine.foreignUses().filter(({ endpointId }) => endpointId === victim.endpointId)
    expect(uses).toMatchObject([{ address: victim.macAddress, macAddress: victim.macAddress }])
    await engine.detach(victim.endpointId)
  })

  it('is found when that host sends to one container only', async () => {
    const [victim, peer] = [container(14), container(15)]
    await engine.attach(victim)
    await engine.attach(peer)
    runIn('wire', 'ip', 'link', 'set', 'port', 'address', victim.macAddress)
    runIn('wire', 'ip', 'neigh', 'replace', '10.30.0.15', 'lladdr', peer.macAddress, 'dev', 'port', 'nud', 'permanent')
    runIn('wire', 'sh', '-c', 'ping -q -f -c 200 -W 0.1 10.30.0.15 || true')
    expect(engine.foreignUses()).toMatchObject([{ endpointId: victim.endpointId, address: victim.macAddress }])
    for (const each of [victim, peer]) await engine.detach(each.endpointId)
  })
})

describe('an upgrade from a build that did not have the map', () => {
  it('keeps what is attached and makes the map', async () => {
    const kept = container(12)
    await engine.attach(kept)
    await engine.stop()
    rmSync(`${pins}/maps/duplicates`)
    const version = readdirSync(pins).find((name) => name.endsWith('-counters'))!
    rmSync(`${pins}/${version}`) // without it the programs are loaded again, as those of another build are
    engine = await startEngine()
    expect((await engine.attached()).map(({ endpointId }) => endpointId)).toEqual([kept.endpointId])
    expect(await engine.check(kept)).toEqual([])
    expect(readdirSync(pins).filter((name) => name.startsWith('maps'))).toEqual(['maps'])
    expect(readdirSync(`${pins}/maps`)).toContain('duplicates')
    await engine.detach(kept.endpointId)
  })
})
