import './own-lab.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Lab, takeLabDown, type CniError, type Host } from '../../lab/index.ts'
import { expectNothingElse } from '../support/inventory.ts'
import { refusal, Sandbox } from '../support/sandboxes.ts'

let lab: Lab
let left: Host
let right: Host

/** Behind the gateway, reached only by a default route; both gateways have it. */
const beyond = ['192.0.2.1', '2001:db8::1']

/**
 * Two networks with the same subnets and gateways on two VLANs, the hardest case there is: only the interface by which a
 * packet came in tells where its answer must go.
 */
beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ nodes: 2 })
  const subnets = ['-s', '10.51.0.0/24,fd00:51::/64', '-g', '10.51.0.1,fd00:51::1']
  const range = (first: number): string[] => [
    ...['--start', `10.51.0.${first},fd00:51::${first}`],
    ...['--end', `10.51.0.${first + 50},fd00:51::${first + 50}`],
  ]
  await Promise.all([
    lab.dctl(['network', 'create', 'left', ...subnets, ...range(10), '-v', '151']),
    lab.dctl(['network', 'create', 'right', ...subnets, ...range(100), '-v', '152']),
    lab.dctl(['network', 'create', 'third', '-s', '10.53.0.0/24', '-v', '153']),
    lab.dctl(['network', 'create', 'tiny', '-s', '10.54.0.0/24', '--start', '10.54.0.9', '--end', '10.54.0.9', '-v', '154']),
    lab.dctl(['perf-tier', 'create', 'half', '-b', '400M']),
  ]) // prettier-ignore
  const address = ['10.51.0.1/24', 'fd00:51::1/64']
  ;[left, right] = await Promise.all([
    lab.addHost({ name: 'left', vlan: 151, address }),
    lab.addHost({ name: 'right', vlan: 152, address }),
  ])
  for (const host of [left, right]) {
    for (const each of beyond) await host.exec(['ip', 'address', 'add', each, 'dev', 'lo'])
    await withoutTentative(host)
  }
})
afterAll(() => lab.down())

/** Waits until the host may use its IPv6 addresses, which takes a second or two. */
async function withoutTentative(host: Host): Promise<void> {
  const tentative = ['ip', '-6', 'address', 'show', 'tentative']
  const giveUp = performance.now() + 10_000
  while ((await host.exec(tentative)).stdout.trim() !== '') {
    if (performance.now() > giveUp) throw new Error('the host still has tentative addresses')
    await sleep(50)
  }
}

/** A sandbox whose interfaces are on these networks, each wish as of an annotation. */
function wanting(...wishes: object[]): { request: { annotations: Record<string, string> } } {
  const entries = wishes.map((wish, index) => [`carbonado.io/endpoint${index}`, JSON.stringify(wish)])
  return { request: { annotations: Object.fromEntries(entries) as Record<string, string> } }
}

async function addressesOf(sandbox: Sandbox, device: string): Promise<string[]> {
  const { stdout } = await sandbox.exec(['ip', '-json', 'address', 'show', 'dev', device, 'scope', 'global'])
  return (JSON.parse(stdout) as [{ addr_info: { local?: string }[] }])[0].addr_info.flatMap(({ local }) => local ?? [])
}

/** Whether a host gets answers, asking from an address beyond the subnet and from the subnet itself. */
async function answers(host: Host, addresses: string[]): Promise<boolean[]> {
  const asked = addresses.flatMap((address) => {
    const far = beyond[address.includes(':') ? 1 : 0]!
    return [['-I', far, address], [address]]
  })
  return Promise.all(
    asked.map((target) =>
      host.exec(['ping', '-q', '-c', '2', '-i', '0.1', '-W', '1', ...target]).then(() => true, () => false),
    ),
  ) // prettier-ignore
}

const defaultDevice = async (sandbox: Sandbox, target: string): Promise<string | undefined> =>
  /dev (\S+)/.exec((await sandbox.exec(['ip', 'route', 'get', target])).stdout)?.[1]

/** What CHECK says after a damage; once more where the agent was faster and had repaired it. */
async function errorAfter(sandbox: Sandbox, damage: string[]): Promise<CniError> {
  for (let attempt = 0; attempt < 5; attempt++) {
    await sandbox.exec(damage)
    const outcome = await sandbox.check()
    if (!outcome.ok) return outcome.error
  }
  throw new Error(`CHECK did not see that somebody did: ${damage.join(' ')}`)
}

const eth = (count: number): string[] => Array.from({ length: count }, (_, index) => `eth${index}`)
const whole = (sandbox: Sandbox, ...interfaceNames: string[]) => ({
  node: sandbox.node,
  id: sandbox.id,
  interfaceNames,
})

describe('a container with two interfaces', () => {
  it('answers each peer by the interface on which it was asked; ips has the primary only', async () => {
    const sandbox = await Sandbox.attached(lab, 'n1', wanting({ network: 'left' }, { network: 'right' }))
    const inside = sandbox.result!.interfaces!.filter((each) => each.sandbox)
    expect(inside.map(({ name }) => name)).toEqual(['eth0', 'eth1'])
    const [first, second] = [await addressesOf(sandbox, 'eth0'), await addressesOf(sandbox, 'eth1')]
    expect(sandbox.addresses).toEqual(first)
    expect(second).toHaveLength(2)
    expect(await answers(left, first)).toEqual(Array(4).fill(true))
    expect(await answers(right, second)).toEqual(Array(4).fill(true))
    for (const target of beyond) expect(await defaultDevice(sandbox, target)).toBe('eth0')
    expect(await sandbox.check()).toMatchObject({ ok: true })
    const { stdout } = await lab.dctl(['endpoint', 'list', '-o', 'wide'])
    expect(stdout).toMatch(/INTERFACE +PRIMARY/)
    await expect(lab.dctl(['network', 'delete', 'right', '-y'])).rejects.toThrow(/in use by 1 endpoint: .*-eth1-/)
    await expectNothingElse(lab, [whole(sandbox, 'eth0', 'eth1')])
    await sandbox.remove()
    await expectNothingElse(lab, [])
  })

  it('has its default route where the lowest metric is', async () => {
    const sandbox = await Sandbox.attached(lab, 'n1', wanting({ network: 'left' }, { network: 'right', metric: 20 }))
    for (const target of beyond) expect(await defaultDevice(sandbox, target)).toBe('eth1')
    expect(await answers(left, await addressesOf(sandbox, 'eth0'))).toEqual(Array(4).fill(true))
    expect(await answers(right, await addressesOf(sandbox, 'eth1'))).toEqual(Array(4).fill(true))
    await sandbox.remove()
  })

  it('is damaged for CHECK when a child or its routes are', async () => {
    const sandbox = await Sandbox.attached(lab, 'n1', wanting({ network: 'left' }, { network: 'right' }))
    const rule = await errorAfter(sandbox, ['ip', 'rule', 'del', 'pref', '1001'])
    expect(rule).toMatchObject({ code: 110, msg: expect.stringContaining('table 1001') })
    const link = await errorAfter(sandbox, ['ip', 'link', 'del', 'eth1'])
    expect(link).toMatchObject({ code: 110, msg: expect.stringContaining('eth1') })
    await sandbox.remove()
    await expectNothingElse(lab, [])
  })
})

describe('a container with four interfaces', () => {
  const four = wanting({ network: 'left' }, { network: 'right' }, { network: 'third' }, { network: 'left' })

  it('has all of them, also two on one network', async () => {
    const sandbox = await Sandbox.attached(lab, 'n2', four)
    for (const [host, device] of [[left, 'eth0'], [right, 'eth1'], [left, 'eth3']] as const) {
      expect(await answers(host, await addressesOf(sandbox, device)), device).toEqual(Array(4).fill(true))
    } // prettier-ignore
    await expectNothingElse(lab, [whole(sandbox, ...eth(4))])
    const outcome = await lab.cni('n2', 'GC', { configuration: { 'cni.dev/valid-attachments': [] } })
    expect(outcome.ok).toBe(true)
    await expectNothingElse(lab, [])
    await sandbox.remove()
  })

  it('has none of them when one cannot be had, and is told which and why', async () => {
    const holder = await Sandbox.attached(lab, 'n1', { network: 'tiny' })
    const sandbox = await Sandbox.make(lab, 'n1', wanting({ network: 'left' }, { network: 'right' }, { network: 'tiny' }, { network: 'third' })) // prettier-ignore
    expect(refusal(await sandbox.add())).toMatchObject({
      code: 102,
      msg: expect.stringMatching(/^interface eth2 \(endpoint2\): network tiny .*none of the 4 interfaces is attached/),
    })
    await sandbox.remove()
    await expectNothingElse(lab, [holder])
    await holder.remove()
  })

  it('is promised the sum of its floors, or nothing', async () => {
    const gold = { perfTier: 'half' }
    const sandbox = await Sandbox.attached(lab, 'n1', wanting({ network: 'left', ...gold }, { network: 'right', ...gold })) // prettier-ignore
    const other = await Sandbox.make(lab, 'n1', wanting({ network: 'left' }, { network: 'right', ...gold }))
    expect(refusal(await other.add())).toMatchObject({
      code: 102,
      msg: expect.stringMatching(/eth1 .*needs 400 Mbit\/s/),
    })
    await other.remove()
    await expectNothingElse(lab, [whole(sandbox, 'eth0', 'eth1')])
    await sandbox.remove()
  })

  it('leaves nothing half when the agent is killed in the middle of ADD or DEL', async () => {
    let cut = 0
    for (let round = 0; round < 5; round++) {
      const sandbox = await Sandbox.make(lab, 'n2', four)
      const [adding] = [sandbox.add(), await sleep(Math.random() * 25), await lab.killAgent('n2')]
      await lab.startAgent('n2')
      const added = await adding
      if (!added.ok) cut++
      await expect.poll(() => sandbox.add(), { timeout: 10_000 }).toMatchObject({ ok: true })
      await expectNothingElse(lab, [whole(sandbox, ...eth(4))], ['n2'])
      const [removing] = [sandbox.del(), await sleep(Math.random() * 10), await lab.killAgent('n2')]
      await lab.startAgent('n2')
      if (!(await removing).ok) cut++
      await sandbox.remove()
      await expectNothingElse(lab, [], ['n2'])
    }
    expect(cut, 'no kill came in the middle').toBeGreaterThan(0)
    await expectNothingElse(lab, [])
  })
})

describe('endpoints for sets', () => {
  const ofSet = (name: string, node: string): Promise<Sandbox> =>
    Sandbox.make(lab, node, {
      request: {
        pod: { namespace: 'default', name },
        annotations: { 'carbonado.io/endpoint0': '{"endpointPrefix":"set"}' },
      },
    })

  it('go by ordinal, or to whoever asks for any, on any node; nobody gets one that is held', async () => {
    for (const number of [0, 1, 2]) {
      await lab.dctl([
        'endpoint',
        'create',
        `set-${number}`,
        '-n',
        'third',
        '-i',
        `10.53.0.2${number}`,
        '-l',
        'app=set',
      ])
    }
    expect((await lab.dctl(['endpoint', 'list', '--selector', 'app=set'])).stdout.trim().split('\n')).toHaveLength(4)
    const [ordinal, any, more] = await Promise.all([
      ofSet('db-1', 'n1'),
      ofSet('web-6d4cf56db6-x7k2p', 'n1'),
      ofSet('web-6d4cf56db6-24567', 'n2'),
    ])
    expect(await ordinal.add()).toMatchObject({ ok: true })
    expect(ordinal.address).toBe('10.53.0.21')
    expect(await Promise.all([any.add(), more.add()])).toMatchObject([{ ok: true }, { ok: true }])
    expect([any.address, more.address].sort()).toEqual(['10.53.0.20', '10.53.0.22'])
    const late = await ofSet('web-6d4cf56db6-lllll', 'n2')
    expect(refusal(await late.add())).toMatchObject({ code: 101, msg: expect.stringContaining('set-1 is held by pod') })
    await ordinal.remove()
    expect(await late.add(), 'the free one, though another node had it').toMatchObject({ ok: true })
    expect(late.address).toBe('10.53.0.21')
    await expectNothingElse(lab, [any, more, late])
    await Promise.all([any, more, late].map((sandbox) => sandbox.remove()))
    await lab.dctl(['endpoint', 'delete', 'set-0', 'set-1', 'set-2', '-y'])
    await expectNothingElse(lab, [])
  })
})

describe('an ADD of another interface name, as Multus sends it', () => {
  const net1 = {
    interfaceName: 'net1',
    configuration: { name: 'second', network: 'right', args: { cni: { metric: 3000 } } },
  }

  it('attaches that one alone and makes both answer where they are asked; DEL of it leaves the other', async () => {
    const sandbox = await Sandbox.attached(lab, 'n1', { network: 'left' })
    const first = sandbox.result
    const outcome = await sandbox.add(net1)
    expect(outcome).toMatchObject({ ok: true, result: { interfaces: [{}, { name: 'net1' }] } })
    const second = sandbox.addresses
    expect(await answers(right, second)).toEqual(Array(4).fill(true))
    expect(await answers(left, await addressesOf(sandbox, 'eth0'))).toEqual(Array(4).fill(true))
    for (const target of beyond) expect(await defaultDevice(sandbox, target)).toBe('eth0')
    await expectNothingElse(lab, [whole(sandbox, 'eth0', 'net1')])
    expect(await sandbox.del(net1)).toMatchObject({ ok: true })
    await expectNothingElse(lab, [sandbox])
    sandbox.result = first
    expect(await sandbox.check()).toMatchObject({ ok: true })
    expect(await answers(left, sandbox.addresses)).toEqual(Array(4).fill(true))
    await sandbox.remove()
  })
})
