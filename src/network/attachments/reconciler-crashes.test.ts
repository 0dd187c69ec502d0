import { describe, expect, test } from 'vitest'
import { isOwnedByPod, type Endpoint } from '../../api/index.ts'
import { KillSwitch } from './kill-switch.ts'
import { addRequest, eventually, TestNode } from './test-node.ts'

const container = { cniNetwork: 'cluster', containerId: 'c1', interfaceName: 'eth0' }
const wishes = {
  dynamic: { kind: 'dynamic', networkName: 'blue' },
  static: { kind: 'static', endpointName: 'ep1' },
} as const

const pod = { namespace: 'default', name: 'web', uid: 'uid-of-web' }

/** One ADD with three interfaces, one of them on a static endpoint. */
const requests = {
  dynamic: addRequest({ wish: wishes.dynamic }),
  static: addRequest({ wish: wishes.static }),
  'of a pod': addRequest({ wish: wishes.dynamic, pod }),
  prepared: addRequest({ wish: wishes.dynamic, pod }),
  several: addRequest({
    wish: wishes.dynamic,
    children: [
      { interfaceName: 'eth1', wish: wishes.static },
      { interfaceName: 'eth2', wish: { kind: 'dynamic', networkName: 'green' } },
    ],
  }),
}

/** Kernel, journal and store agree: what is attached is known everywhere, and nothing else holds anything. */
async function expectConsistent(node: TestNode): Promise<void> {
  const agrees = async (): Promise<boolean> => {
    const isHeld = (endpoint: Endpoint): boolean =>
      isOwnedByPod(endpoint) ? endpoint.spec.holder !== undefined : endpoint.spec.nodeName !== undefined
    const held = (await node.endpoints()).filter(isHeld)
    const inStore = held.map(({ metadata }) => metadata.uid!).sort()
    const inKernel = [...node.kernel.attachments.keys()].sort()
    const inJournal = node.journal
      .all()
      .map(({ endpointId }) => endpointId)
      .sort()
    const isSettled = node.journal.all().every(({ state }) => state === 'attached')
    const isReported = held.every(({ status, spec }) => status?.attachment?.containerId === spec.holder?.containerId)
    return isSettled && isReported && same(inStore, inKernel) && same(inStore, inJournal)
  }
  await eventually(agrees, async () => ({
    store: (await node.endpoints()).map(({ metadata, spec }: Endpoint) => [
      metadata.name,
      spec.nodeName,
      metadata.finalizers,
    ]),
    kernel: [...node.kernel.attachments.keys()],
    journal: node.journal.all().map(({ name, state }) => [name, state]),
  }))
}

function same(a: string[], b: string[]): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

/** Starts the agent, runs an operation and kills the agent at its n-th point; false when all was done before. */
async function killDuring(node: TestNode, kill: KillSwitch, operation: () => Promise<unknown>): Promise<boolean> {
  // the background work that an operation starts belongs to it
  const settled = node
    .startAgent(kill.interpose())
    .then(operation)
    .then(() => expectConsistent(node))
  const failed = settled.then(
    () => undefined,
    (error: unknown) => error,
  )
  const error = await Promise.race([failed, kill.died])
  if (error && !kill.isDead) throw error
  return kill.isDead
}

/** Kills at the first, second, ... point until the operation gets through. Returns how many points there were. */
async function atEveryPoint(trial: (kill: KillSwitch) => Promise<boolean>): Promise<number> {
  for (let killAt = 1; ; killAt++) {
    if (!(await trial(new KillSwitch(killAt)))) return killAt - 1
    if (killAt > 200) throw new Error('the operation never ends')
  }
}

describe.each(['dynamic', 'static', 'several', 'of a pod', 'prepared'] as const)(
  'an agent killed at every point, %s',
  { timeout: 180_000 },
  (kind) => {
    const request = requests[kind]
    const interfaces = 1 + (request.children?.length ?? 0)

    async function newNode(): Promise<TestNode> {
      const node = await TestNode.create()
      if (kind === 'static' || kind === 'several') await node.createStatic('ep1')
      if (kind !== 'of a pod' && kind !== 'prepared') return node
      node.podsOwnEndpoints = true
      await node.stopAgent()
      await node.startAgent()
      if (kind === 'prepared') await node.prepare(pod)
      return node
    }

    test('of ADD, then DEL: nothing is left', async () => {
      const points = await atEveryPoint(async (kill) => {
        await using node = await newNode()
        await node.stopAgent()
        const wasKilled = await killDuring(node, kill, () => node.attachments.add(request))
        if (wasKilled) node.abandonAgent()
        else await node.stopAgent()
        await node.startAgent()
        await expectConsistent(node)
        expect([0, interfaces]).toContain(node.kernel.attachments.size) // all or none
        await node.attachments.remove(container)
        await expectConsistent(node)
        expect(node.kernel.attachments.size).toBe(0)
        return wasKilled
      })
      expect(points).toBeGreaterThan(interfaces === 1 ? 8 : 16) // the journal has one write for all
    })

    test('of ADD, then ADD again: exactly what was asked for is attached', async () => {
      await atEveryPoint(async (kill) => {
        await using node = await newNode()
        await node.stopAgent()
        const wasKilled = await killDuring(node, kill, () => node.attachments.add(request))
        if (wasKilled) node.abandonAgent()
        else await node.stopAgent()
        await node.startAgent()
        await node.attachments.add(request)
        await expectConsistent(node)
        expect(node.kernel.attachments.size).toBe(interfaces)
        expect(await node.endpoints()).toHaveLength(interfaces)
        return wasKilled
      })
    })

    test('of DEL: it is completed by the next start', async () => {
      const points = await atEveryPoint(async (kill) => {
        await using node = await newNode()
        await node.attachments.add(request)
        await expectConsistent(node)
        await node.stopAgent()
        const wasKilled = await killDuring(node, kill, () => node.attachments.remove(container))
        if (wasKilled) node.abandonAgent()
        else await node.stopAgent()
        await node.startAgent()
        await node.attachments.remove(container) // as the runtime does that got no answer
        await expectConsistent(node)
        expect(node.kernel.attachments.size).toBe(0)
        return wasKilled
      })
      expect(points).toBeGreaterThan(interfaces === 1 ? 8 : 16) // the journal has one write for all
    })

    test('of the repair itself: the start after it repairs', async () => {
      await atEveryPoint(async (kill) => {
        await using node = await newNode()
        const first = new KillSwitch(6) // in the middle of the ADD
        await node.stopAgent()
        await killDuring(node, first, () => node.attachments.add(request))
        node.abandonAgent()
        const wasKilled = await killDuring(node, kill, async () => {})
        if (wasKilled) node.abandonAgent()
        else await node.stopAgent()
        await node.startAgent()
        await expectConsistent(node)
        return wasKilled
      })
    })
  },
)
