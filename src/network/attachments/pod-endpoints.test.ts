import { describe, expect, test } from 'vitest'
import { Endpoint } from '../../api/index.ts'
import { addRequest, eventually, TestNode } from './test-node.ts'

const pod = { namespace: 'default', name: 'web', uid: 'uid-of-web' }
const sandbox = (containerId: string): { cniNetwork: string; containerId: string; interfaceName: string } => ({
  cniNetwork: 'cluster',
  containerId,
  interfaceName: 'eth0',
})

async function nodeOfPods(...arguments_: Parameters<typeof TestNode.create>): Promise<TestNode> {
  const node = await TestNode.create(...arguments_)
  node.podsOwnEndpoints = true
  await node.stopAgent()
  await node.startAgent()
  return node
}

const attach = (
  node: TestNode,
  containerId: string,
  networkName = 'blue',
): ReturnType<TestNode['attachments']['add']> =>
  node.attachments.add(
    addRequest({ pod, containerId, netns: `/run/netns/${containerId}`, wish: { kind: 'dynamic', networkName } }),
  )

describe('the endpoint of a pod', () => {
  test.each([true, false])('keeps address and MAC from one sandbox to the next (prepared: %s)', async (isPrepared) => {
    await using node = await nodeOfPods()
    if (isPrepared) await node.prepare(pod)
    const first = await attach(node, 'c1')
    await node.attachments.remove(sandbox('c1'))
    expect(node.kernel.attachments.size).toBe(0)
    const second = await attach(node, 'c2')
    expect([second.addresses, second.macAddress]).toEqual([first.addresses, first.macAddress])
    expect(await node.endpoints()).toHaveLength(1)
  })

  test("of a static pod, whose uid the API server does not know, is its sandbox's", async () => {
    await using node = await nodeOfPods()
    const hash = '0123456789abcdef0123456789abcdef'
    await node.attachments.add(
      addRequest({ pod: { ...pod, uid: hash }, containerId: 'c1', netns: '/run/netns/c1', wish: { kind: 'dynamic', networkName: 'blue' } }),
    ) // prettier-ignore
    const [endpoint] = await node.endpoints()
    expect(endpoint!.metadata.ownerReferences).toBeUndefined()
    expect(endpoint!.spec.holder).toMatchObject({ containerId: 'c1', pod: { uid: hash } })
    await node.attachments.remove(sandbox('c1'))
    await eventually(async () => (await node.endpoints()).length === 0)
  })

  test('is attached by what was decided before, without another decision', async () => {
    let decisions = 0
    await using node = await nodeOfPods(({ spec }) => {
      decisions += 1
      const addresses = [{ address: spec.holder ? '10.0.0.99' : '10.0.0.2', prefixLength: 16 }]
      return { state: 'Allocated', addresses, macAddress: '02:00:00:00:00:01', vlan: 1, bandwidthFloor: 0 }
    })
    await node.prepare(pod)
    await eventually(() => decisions === 1)
    expect((await attach(node, 'c1')).addresses[0]!.address).toBe('10.0.0.2')
    await node.attachments.remove(sandbox('c1'))
    expect((await attach(node, 'c2')).addresses[0]!.address).toBe('10.0.0.2')
    expect(decisions).toBe(1)
  })

  test('that was refused when it was prepared is decided about again', async () => {
    let isFull = true
    await using node = await nodeOfPods(() =>
      isFull
        ? { state: 'Refused', code: 'Exhausted', message: 'no free address' }
        : { state: 'Allocated', addresses: [{ address: '10.0.0.2', prefixLength: 16 }], macAddress: '02:00:00:00:00:01', vlan: 1, bandwidthFloor: 0 },
    ) // prettier-ignore
    await node.prepare(pod)
    await expect(attach(node, 'c1')).rejects.toMatchObject({ code: 'Exhausted' })
    isFull = false
    expect((await attach(node, 'c2')).addresses[0]!.address).toBe('10.0.0.2')
  })

  test('waits for its sandbox through restarts of the agent', async () => {
    await using node = await nodeOfPods()
    await node.prepare(pod)
    await node.stopAgent()
    await node.startAgent()
    await eventually(async () => (await node.endpoints())[0]?.status?.allocation !== undefined)
    expect(await node.endpoints()).toHaveLength(1)
    await attach(node, 'c1')
    expect((await node.endpoints())[0]!.spec.holder?.containerId).toBe('c1')
  })

  test('is not given to a second sandbox while the first has it', async () => {
    await using node = await nodeOfPods(undefined, { patience: { release: 50 } })
    await node.prepare(pod)
    await attach(node, 'c1')
    await expect(attach(node, 'c2')).rejects.toThrow(/held by pod default\/web/)
    expect([...node.kernel.attachments.values()].map(({ containerId }) => containerId)).toEqual(['c1'])
  })

  test('that was made for another network says so', async () => {
    await using node = await nodeOfPods()
    await node.prepare(pod, 'green')
    await expect(attach(node, 'c1')).rejects.toThrow(/was made for network green.*now asks for network blue/)
  })

  test('goes when the pod goes, and only once the sandbox is detached', async () => {
    await using node = await nodeOfPods()
    await node.prepare(pod)
    await attach(node, 'c1')
    const [endpoint] = await node.endpoints()
    const { namespace, name } = endpoint!.metadata
    const order: string[] = []
    const watching = (async () => {
      for await (const event of node.store.watch(Endpoint, { resourceVersion: endpoint!.metadata.resourceVersion })) {
        if (event.type !== 'DELETED') continue
        order.push(node.kernel.attachments.size === 0 ? 'detached before' : 'gone while attached')
        return
      }
    })()
    await node.store.delete(Endpoint, { namespace, name })
    await watching
    expect(order).toEqual(['detached before'])
    await expect(node.attachments.remove(sandbox('c1'))).resolves.toBeUndefined()
  })
})
