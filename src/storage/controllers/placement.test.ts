import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Drive, Node } from '../../api/index.ts'
import { fit, nothing, type Amounts } from '../../guarantee/index.ts'
import { amountsOf, driveTotals, isSettled } from './drive-space.ts'
import { choosePlace, metadataLimit, type Candidate } from './placement.ts'

const gibibyte = 2 ** 30

function node(name: string, ready = true, labels: Record<string, string> = {}): Node {
  const status = { ready: { state: ready, reason: '', message: '', since: '' } }
  return {
    metadata: { name, labels },
    spec: { uplinks: { pods: { interface: 'eth0' } }, maximumInterfaces: 1 },
    status,
  }
}

function drive(nodeName: string, capacity = 100 * gibibyte, iops = 10_000, more: object = {}): Drive {
  const calibration = { readIops: iops, writeIops: iops, readBandwidth: 1, writeBandwidth: 1, measuredAt: '' }
  const pool = {
    id: nodeName,
    format: 'file' as const,
    capacity,
    used: 0,
    held: 0,
    measuredAt: '2026-01-01T00:00:01.000Z',
  }
  const agent = { state: 'Ready', size: capacity, found: [], calibration, pool: { ...pool, ...more } }
  return { metadata: { name: `${nodeName}.d` }, spec: { nodeName, device: '/dev/d' }, status: { agent } }
}

const ask = (space: number, iops = 0): Amounts => ({ ...nothing, space, iops })
const on = (each: Drive, promised: Amounts = nothing): Candidate => ({ drive: each, promised: { ...promised } })

describe('choosePlace', () => {
  it('only chooses where the whole of it fits, and finds a place whenever there is one', () => {
    const amount = fc.record({ space: fc.nat({ max: 120 }), iops: fc.nat(12_000) })
    const places = fc.array(
      fc.record({ capacity: fc.nat({ max: 120 }), iops: fc.nat(12_000), ready: fc.boolean(), promised: amount }),
      { maxLength: 6 },
    )
    fc.assert(
      fc.property(amount, places, (wanted, list) => {
        const wish = ask(wanted.space * gibibyte, wanted.iops)
        const request = { who: 'volume v', askOf: () => wish }
        const nodes = list.map(({ ready }, index) => node(`n${index}`, ready))
        const candidates = list.map(({ capacity, iops, promised }, index) =>
          on(drive(`n${index}`, capacity * gibibyte, iops), ask(promised.space * gibibyte, promised.iops)),
        )
        const fits = candidates.filter(
          (candidate, index) =>
            list[index]!.ready && fit(wish, { total: driveTotals(candidate.drive), promised: candidate.promised }).fits,
        )
        const placement = choosePlace(request, candidates, nodes)
        if ('refused' in placement) {
          expect(fits).toEqual([])
          for (const { metadata } of nodes) expect(placement.refused.message).toContain(`${metadata.name}: `)
        } else expect(fits.map((each) => each.drive.metadata.name)).toContain(placement.driveName)
      }),
    )
  })

  it('spreads volumes over drives, and prefers the drive of the source', () => {
    const candidates = [on(drive('n1'), ask(50 * gibibyte)), on(drive('n2'))]
    const request = { who: 'volume v', askOf: () => ask(gibibyte) }
    const nodes = [node('n1'), node('n2')]
    expect(choosePlace(request, candidates, nodes)).toEqual({ driveName: 'n2.d' })
    expect(choosePlace({ ...request, preferredDrive: 'n1.d' }, candidates, nodes)).toEqual({ driveName: 'n1.d' })
  })

  it('tells for every node why, with numbers', () => {
    const blank: Drive = { ...drive('n3'), status: { agent: { state: 'Blank', size: 1, found: [] } } }
    const candidates = [
      on(drive('n1'), ask(0, 9_000)),
      on(blank),
      on(drive('n5', gibibyte, 1, { metadataUsed: metadataLimit + 0.05 })),
    ]
    const nodes = ['n1', 'n2', 'n3', 'n5'].map((name) => node(name)).concat(node('n4', false))
    const request = { who: 'volume v', askOf: () => ask(gibibyte, 500), selector: {} }
    const placement = choosePlace(request, candidates, nodes)
    expect('refused' in placement && placement.refused.message).toBe(
      'volume v fits nowhere: ' +
        'n1: needs 500 IOPS, drive n1.d has 0 IOPS of 9000 IOPS left (IOPS that can be promised); ' +
        'n2: it has no drive; ' +
        'n3: drive n3.d is Blank (format it with `dctl drive format`); ' +
        'n4: the node is not Ready; ' +
        'n5: the metadata space of drive n5.d is 80 % used, nothing new begins above 75 %',
    )
  })

  it('takes no drive that is to be formatted, until its agent has answered', () => {
    const asked = (agent: object): Drive => {
      const { status, ...each } = drive('n1')
      const spec = { ...each.spec, format: { requestId: 'r2', force: true } }
      return { ...each, spec, status: { agent: { ...status!.agent!, requestId: 'r1', ...agent } } }
    }
    const place = (agent: object) =>
      choosePlace({ who: 'volume v', askOf: () => ask(1) }, [on(asked(agent))], [node('n1')])
    const placement = place({})
    expect('refused' in placement && placement.refused.message).toContain('drive n1.d is to be formatted')
    expect('refused' in place({ refused: { requestId: 'r1', message: 'no' } })).toBe(true)
    expect(place({ requestId: 'r2' })).toEqual({ driveName: 'n1.d' })
    expect(place({ refused: { requestId: 'r2', message: 'no' } })).toEqual({ driveName: 'n1.d' })
  })

  it('keeps to the nodes and labels that were asked for', () => {
    const nodes = [node('n1', true, { rack: 'a' }), node('n2', true, { rack: 'b' })]
    const candidates = [on(drive('n1')), on(drive('n2'))]
    const request = { who: 'volume v', askOf: () => ask(1) }
    expect(choosePlace({ ...request, nodeNames: ['n2'] }, candidates, nodes)).toEqual({ driveName: 'n2.d' })
    expect(choosePlace({ ...request, selector: { rack: 'a' } }, candidates, nodes)).toEqual({ driveName: 'n1.d' })
    expect('refused' in choosePlace({ ...request, selector: { rack: 'c' } }, candidates, nodes)).toBe(true)
  })
})

describe('amountsOf', () => {
  const share = { size: 10, iopsFloor: 5, driveName: 'n1.d', snapshots: [{ uid: 's', name: 's' }] }
  const measured = drive('n1')
  const taken = (takenAt: string) => ({ state: 'Up', generation: 1, snapshots: [{ uid: 's', takenAt }] })

  it('counts what may be written anew until a measurement contains the snapshot', () => {
    expect(amountsOf({ ...share, snapshots: [] }, undefined, measured)).toMatchObject({ space: 10, iops: 5 })
    expect(amountsOf(share, undefined, measured).space).toBe(20)
    expect(amountsOf(share, taken('2026-01-01T00:00:02.000Z'), measured).space).toBe(20)
    expect(amountsOf(share, taken('2026-01-01T00:00:00.000Z'), measured).space).toBe(10)
    expect(isSettled(share, taken('2026-01-01T00:00:00.000Z'), measured)).toBe(true)
  })

  it('goes on counting a snapshot that is released until the agent says that it is gone', () => {
    expect(amountsOf({ ...share, snapshots: [] }, taken('2026-01-01T00:00:02.000Z'), measured).space).toBe(20)
    const failed = { state: 'Up', generation: 1, snapshots: [{ uid: 's', failure: 'no room' }] }
    expect(amountsOf(share, failed, measured).space).toBe(10)
  })

  it('counts what a clone shares with its source until that is measured', () => {
    const source = { uid: 'p', kind: 'Plex' as const, nodeName: 'n1', driveName: 'n1.d', size: 7 }
    expect(amountsOf({ ...share, snapshots: [], source }, undefined, measured).space).toBe(17)
    const elsewhere = { ...source, driveName: 'n2.d' }
    expect(amountsOf({ ...share, snapshots: [], source: elsewhere }, undefined, measured).space).toBe(10)
  })
})
