import { describe, expect, it } from 'vitest'
import { attachmentFinalizer, Endpoint, type Pod } from '../../api/index.ts'
import type { ObjectReference } from '../../store/index.ts'
import { ControlFixture, createNetwork, createNode, createTier } from '../controllers/control-fixture.ts'
import { owningPodOf, PodEndpoints } from './pod-endpoints.ts'

const reference = { namespace: 'default', name: 'web' }

function podOf(
  uid: string,
  more: { nodeName?: string; phase?: string; deleted?: boolean; annotation?: string } = {},
): Pod {
  const { nodeName, phase = 'Pending', deleted, annotation = '{"network":"blue","perfTier":"gold"}' } = more
  return {
    metadata: {
      ...reference,
      uid,
      annotations: { 'carbonado.io/endpoint0': annotation },
      ...(deleted ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
    },
    spec: { containers: [], ...(nodeName ? { nodeName } : {}) },
    status: { phase },
  }
}

/** A cluster with two nodes and a network, and pods as somebody else would have them. */
async function cluster(): Promise<{ fixture: ControlFixture; endpoints: PodEndpoints; pods: { copy?: Pod; live?: Pod }; clock: { at: number }; all: () => Promise<Endpoint[]> }> {
  const fixture = await ControlFixture.start()
  const { store } = fixture
  for (const name of ['n1', 'n2']) await createNode(store, name)
  await createNetwork(store)
  await createTier(store, 'gold', '500M')
  const pods: { copy?: Pod; live?: Pod } = {}
  const clock = { at: 1000 }
  const all = async (): Promise<Endpoint[]> => (await store.list(Endpoint)).items
  const endpoints = new PodEndpoints({
    store,
    reader: store.reader,
    podOf: (_reference: ObjectReference) => pods.copy,
    livePodOf: () => Promise.resolve(pods.live),
    endpointsOf: (uid) => store.reader.list(Endpoint).filter((each) => owningPodOf(each)?.uid === uid),
    elapsed: () => clock.at,
  })
  return { fixture, endpoints, pods, clock, all }
} // prettier-ignore

/** As the agent does when a sandbox gets it. */
async function hold(
  { fixture }: { fixture: ControlFixture },
  { metadata: { name, namespace } }: Endpoint,
): Promise<void> {
  const holder = { containerId: 'c1', interfaceName: 'eth0', pod: { ...reference, uid: 'u1' } }
  await fixture.store.patch(Endpoint, { name, namespace }, { metadata: { finalizers: [attachmentFinalizer] }, spec: { holder } }) // prettier-ignore
}

describe('the endpoints of a pod', () => {
  it('are made once it has a node, and decided about', async () => {
    const at = await cluster()
    await using fixture = at.fixture
    at.pods.copy = podOf('u1')
    await at.endpoints.reconcile(reference, 'u1')
    expect(await at.all()).toEqual([])
    at.pods.copy = podOf('u1', { nodeName: 'n1' })
    await Promise.all([at.endpoints.reconcile(reference, 'u1'), at.endpoints.prepare(at.pods.copy, 'n1')])
    const [endpoint, ...others] = await at.all()
    expect(others).toEqual([])
    expect(endpoint!.metadata).toMatchObject({ ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: 'web', uid: 'u1' }] }) // prettier-ignore
    expect(endpoint!.metadata.finalizers).toBeUndefined()
    expect(await fixture.allocated(endpoint!.metadata.name)).toMatchObject({ bandwidthFloor: 500e6, vlan: 100 })
  })

  it('are not made for the mirror of a static pod, whose sandbox asks with another uid', async () => {
    const at = await cluster()
    await using _ = at.fixture
    const mirror = podOf('u1', { nodeName: 'n1' })
    Object.assign(mirror.metadata.annotations!, { 'kubernetes.io/config.mirror': 'hash' })
    at.pods.copy = mirror
    await at.endpoints.reconcile(reference, 'u1')
    expect(await at.all()).toEqual([])
  })

  it('move to the node that it got after all', async () => {
    const at = await cluster()
    await using _ = at.fixture
    await at.endpoints.prepare(podOf('u1'), 'n1')
    at.pods.copy = podOf('u1', { nodeName: 'n2' })
    await at.endpoints.reconcile(reference, 'u1')
    expect((await at.all()).map(({ spec }) => spec.nodeName)).toEqual(['n2'])
  })

  it('of one whose binding failed go after a while, so that it finds the room that it had', async () => {
    const at = await cluster()
    await using fixture = at.fixture
    at.pods.copy = at.pods.live = podOf('u1')
    await at.endpoints.prepare(at.pods.copy, 'n1')
    const [endpoint] = await at.all()
    await fixture.allocated(endpoint!.metadata.name)
    expect(await at.endpoints.reconcile(reference, 'u1')).toEqual({ requeueAfter: 15_000 })
    at.clock.at += 10_000
    expect(await at.endpoints.reconcile(reference, 'u1')).toEqual({ requeueAfter: 5_000 })
    expect(await at.all()).toHaveLength(1)
    at.clock.at += 5_000
    expect(await at.endpoints.reconcile(reference, 'u1')).toEqual({ done: true })
    expect(await at.all()).toEqual([])
    await at.endpoints.prepare(at.pods.copy, 'n1')
    expect(await at.endpoints.reconcile(reference, 'u1')).toEqual({ requeueAfter: 15_000 })
  })

  it.each<[string, Pod | undefined]>([
    ['has its node by now', podOf('u1', { nodeName: 'n1' })],
    ['is gone, with another of its name', podOf('u2')],
  ])('of one that %s, as a copy that is behind does not tell, are not taken for left over', async (_what, live) => {
    const at = await cluster()
    await using _ = at.fixture
    at.pods.copy = podOf('u1')
    at.pods.live = live
    await at.endpoints.prepare(at.pods.copy, 'n1')
    await at.endpoints.reconcile(reference, 'u1')
    at.clock.at += 60_000
    expect(await at.endpoints.reconcile(reference, 'u1')).toEqual({ done: true })
    expect(await at.all()).toHaveLength(1)
  })

  it('of another try to bind it have their own time', async () => {
    const at = await cluster()
    await using _ = at.fixture
    at.pods.copy = at.pods.live = podOf('u1')
    await at.endpoints.prepare(at.pods.copy, 'n1')
    await at.endpoints.reconcile(reference, 'u1')
    at.clock.at += 14_000
    await at.endpoints.prepare(at.pods.copy, 'n2')
    at.clock.at += 1_000
    expect(await at.endpoints.reconcile(reference, 'u1')).toEqual({ requeueAfter: 15_000 })
    expect((await at.all()).map(({ spec }) => spec.nodeName)).toEqual(['n2'])
  })

  it.each<[string, Parameters<typeof podOf>[1]]>([
    ['has ended', { nodeName: 'n1', phase: 'Succeeded' }],
    ['has failed', { nodeName: 'n1', phase: 'Failed' }],
    ['is on its way out', { nodeName: 'n1', phase: 'Running', deleted: true }],
  ])('of one that %s go when no sandbox has them, and not before', async (_what, state) => {
    const at = await cluster()
    await using fixture = at.fixture
    await at.endpoints.prepare(podOf('u1'), 'n1')
    const [endpoint] = await at.all()
    await hold(at, endpoint!)
    at.pods.copy = podOf('u1', state)
    await at.endpoints.reconcile(reference, 'u1')
    expect((await at.all())[0]!.metadata.deletionTimestamp).toBeUndefined()
    const { name } = endpoint!.metadata
    await fixture.store.patch(Endpoint, { namespace: 'default', name }, { metadata: { finalizers: [] }, spec: { holder: null } }) // prettier-ignore
    await at.endpoints.reconcile(reference, 'u1')
    expect(await at.all()).toEqual([])
  })

  it('of one that is gone are marked, and stay until the agent has detached them', async () => {
    const at = await cluster()
    await using _ = at.fixture
    await at.endpoints.prepare(podOf('u1'), 'n1')
    await hold(at, (await at.all())[0]!)
    at.pods.live = podOf('u1', { nodeName: 'n1' }) // the copy is behind
    await at.endpoints.reconcile(reference, 'u1')
    expect((await at.all())[0]!.metadata.deletionTimestamp).toBeUndefined()
    at.pods.copy = at.pods.live = podOf('u2', { nodeName: 'n1' }) // another one of the same name
    await at.endpoints.reconcile(reference, 'u1')
    expect((await at.all()).map(({ metadata }) => metadata.deletionTimestamp !== undefined)).toEqual([true])
    await at.endpoints.reconcile(reference, 'u2')
    expect(new Set((await at.all()).map((each) => owningPodOf(each)?.uid))).toEqual(new Set(['u1', 'u2']))
  })

  it('are not made for what is wrong or does not exist: the sandbox is told', async () => {
    const at = await cluster()
    await using _ = at.fixture
    for (const annotation of ['{"network":', '{}', '{"networkGroup":"nobody"}']) {
      await at.endpoints.prepare(podOf('u1', { annotation }), 'n1')
    }
    await at.endpoints.prepare(podOf('u1'), 'n9')
    expect(await at.all()).toEqual([])
  })
})
