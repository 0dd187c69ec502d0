import './own-lab.ts'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { Endpoint, Event, Node } from '../../src/api/index.ts'
import { Sandbox } from '../support/sandboxes.ts'

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up()
  await lab.dctl(['network', 'create', 'blue', '-s', '10.30.0.0/24', '-g', '10.30.0.1', '-v', '100'])
})
afterAll(() => lab.down())

it('a host on the VLAN with the address of a container is reported with its MAC, by event and node', async () => {
  const [victim, other] = await Promise.all(
    ['n1', 'n2'].map((node) => Sandbox.attached(lab, node, { network: 'blue' })),
  )
  const thief = await lab.addHost({ name: 'thief', vlan: 100, address: `${victim!.address}/24` })
  const [mac] = /([0-9a-f]{2}:){5}[0-9a-f]{2}/.exec((await thief.exec(['ip', 'link', 'show', 'eth0'])).stdout) ?? []
  await thief.exec(['ping', '-c', '1', '-W', '1', other!.address]).catch(() => {}) // it speaks, and so is heard
  const reported = async (): Promise<string[]> =>
    (await lab.store.list(Event, { fieldSelector: 'reason=DuplicateAddress' })).items.map(({ regarding, note }) => `${regarding.kind} ${note}`) // prettier-ignore
  await expect.poll(reported, { timeout: 15_000 }).toEqual([expect.stringContaining(`Endpoint ${victim!.address} is also used by a host with MAC ${mac}`)]) // prettier-ignore
  const problems = async (): Promise<string[]> => (await lab.store.get(Node, { name: 'n1' })).status?.agent?.problems?.map(({ reason, message }) => `${reason} ${message}`) ?? [] // prettier-ignore
  await expect.poll(problems, { timeout: 15_000 }).toEqual([expect.stringContaining(`DuplicateAddress address ${victim!.address}`)]) // prettier-ignore
  await thief.remove()
  await expect.poll(problems, { timeout: 40_000 }).toEqual([])
  await Promise.all([victim!, other!].map((sandbox) => sandbox.remove()))
})

it('a host on the VLAN with the MAC of a container is reported by event, node and a condition of the endpoint', async () => {
  const victim = await Sandbox.attached(lab, 'n1', { network: 'blue' })
  const thief = await lab.addHost({ name: 'thief', vlan: 100, address: '10.30.0.240/24' })
  await thief.exec(['ip', 'link', 'set', 'eth0', 'address', victim.mac])
  const speaking = thief.exec(['ping', '-q', '-c', '20', '-i', '0.5', '-W', '0.1', '10.30.0.239']).catch(() => {}) // nobody has that
  const conditions = async (): Promise<string[]> =>
    (await lab.store.list(Endpoint)).items.flatMap(({ metadata, status }) => (status?.conditions ?? []).map(({ type, status: state, reason }) => `${metadata.uid} ${type} ${state} ${reason}`)) // prettier-ignore
  await expect
    .poll(conditions, { timeout: 15_000 })
    .toEqual([expect.stringMatching(/AddressUnique False DuplicateMac$/)])
  const told = async (): Promise<string[]> =>
    (await lab.store.list(Event, { fieldSelector: 'reason=DuplicateMac' })).items.map(({ regarding, note }) => `${regarding.kind} ${note}`) // prettier-ignore
  await expect.poll(told, { timeout: 15_000 }).toEqual([expect.stringContaining(`Endpoint ${victim.mac} is also used by another host`)]) // prettier-ignore
  expect(await lab.dctl(['endpoint', 'describe', victim.address])).toMatchObject({ stdout: expect.stringContaining('DuplicateMac: MAC') }) // prettier-ignore
  await thief.remove()
  await speaking
  await victim.remove()
}, 60_000)
