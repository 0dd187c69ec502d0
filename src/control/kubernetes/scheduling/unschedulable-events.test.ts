import { describe, expect, it } from 'vitest'
import type { Pod } from '../../../api/index.ts'
import type { EventRecorder } from '../../../store/index.ts'
import type { NodeFacts, PodDemand } from './decision.ts'
import type { SchedulingFacts } from './demand.ts'
import { UnschedulableEvents } from './unschedulable-events.ts'

const reference = { namespace: 'default', name: 'web' }
const requests = { 'carbonado.io/interfaces': '1' }

function waitingPod(reason = 'Unschedulable'): Pod {
  return {
    metadata: { ...reference, uid: 'u1' },
    spec: { containers: [{ name: 'main', resources: { requests } }] },
    status: { conditions: [{ type: 'PodScheduled', status: 'False', reason }] },
  }
}

/** A cluster of one node whose network has so many addresses left. */
function setUp(): { events: UnschedulableEvents; notes: string[]; tries: () => number; state: { left: number; pod?: Pod } } {
  const state: { left: number; pod?: Pod } = { left: 0, pod: waitingPod() }
  const notes: string[] = []
  let tries = 0
  const node = { metadata: { name: 'n1' }, spec: { uplinks: { pods: { interface: 'eth0' } }, maximumInterfaces: 9 } }
  const facts = {
    demandOf: (): PodDemand => ({
      network: { interfaces: 1, bandwidth: 0, networkNames: ['blue'], newAddresses: { blue: 1 } },
      networks: [],
      addresses: { blue: { left: state.left, total: 5 } },
      volumes: [],
    }),
    allNodes: (): NodeFacts[] => [{ node, drives: [] }],
  }
  const events = new UnschedulableEvents({
    podOf: () => state.pod,
    facts: facts as unknown as SchedulingFacts,
    recorder: { record: ({ note }: { note: string }) => notes.push(note) } as unknown as EventRecorder,
    tryAgain: () => Promise.resolve(void (tries += 1)),
  })
  return { events, notes, tries: () => tries, state }
} // prettier-ignore

describe('a pod that has no node', () => {
  it('is told why, once, and looked at again', async () => {
    const { events, notes, tries } = setUp()
    for (let look = 0; look < 3; look++) expect(await events.reconcile(reference, 'u1')).toHaveProperty('requeueAfter')
    expect(notes).toEqual(['node n1: network blue: needs 1 address, has 0 of 5 left'])
    expect(tries()).toBe(0)
  })

  it('is tried again when there is room, less and less often', async () => {
    const { events, tries, state } = setUp()
    await events.reconcile(reference, 'u1')
    state.left = 1
    for (const requeueAfter of [5_000, 10_000, 20_000]) {
      expect(await events.reconcile(reference, 'u1')).toEqual({ requeueAfter })
    }
    expect(tries()).toBe(3)
  })

  it('is not tried again for reasons that are not ours', async () => {
    const { events, tries, state } = setUp()
    state.left = 1
    expect(await events.reconcile(reference, 'u1')).toEqual({ done: true })
    expect(tries()).toBe(0)
  })

  it.each<[string, Pod | undefined]>([
    ['has one now', { ...waitingPod(), spec: { ...waitingPod().spec, nodeName: 'n1' } }],
    ['is gone', undefined],
    ['is another of the same name', { ...waitingPod(), metadata: { ...reference, uid: 'u2' } }],
    ['waits for a gate', waitingPod('SchedulingGated')],
    ['takes nothing of ours', { ...waitingPod(), spec: { containers: [] } }],
  ])('is left alone when it %s', async (_what, pod) => {
    const { events, notes, tries, state } = setUp()
    await events.reconcile(reference, 'u1')
    state.pod = pod
    state.left = 1
    expect(await events.reconcile(reference, 'u1')).toEqual({ done: true })
    expect([notes.length, tries()]).toEqual([1, 0])
  })
})
