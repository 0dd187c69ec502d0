import './own-lab.ts'
import { spawn } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Lab, takeLabDown, type Host } from '../../lab/index.ts'
import { expectNothingElse } from '../support/inventory.ts'
import { Sandbox } from '../support/sandboxes.ts'

let lab: Lab
let gateway: Host

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ nodes: 2 })
  const gateways = ['-g', '10.40.0.1,fd00:40::1']
  await Promise.all([
    lab.dctl(['network', 'create', 'dual', '-s', '10.40.0.0/24,fd00:40::/64', ...gateways, '-v', '140']),
    lab.dctl(['network', 'create', 'twin', '-s', '10.40.0.0/24,fd00:40::/64', ...gateways, '-v', '141']),
    lab.dctl(['network', 'create', 'six', '-s', 'fd00:42::/64', '-g', 'fd00:42::1', '-v', '142']),
    lab.dctl(['network', 'create', 'local', '-s', 'fd00:43::/64', '-g', 'fe80::1', '-v', '143']),
  ])
  ;[gateway] = await Promise.all([
    lab.addHost({ name: 'gateway', vlan: 140, address: ['10.40.0.1/24', 'fd00:40::1/64'] }),
    lab.addHost({ name: 'gateway6', vlan: 142, address: 'fd00:42::1/64' }),
    lab.addHost({ name: 'router', vlan: 143, address: ['fe80::1/64', 'fd00:43::1:1/64', `${behindRouter}/128`] }),
  ])
})
afterAll(() => lab.down())

/** Reached by a default route only. */
const behindRouter = 'fd00:99::1'

const isIpv6 = (address: string): boolean => address.includes(':')

describe('a dual-stack network', () => {
  it('gives each container an address per family and a default route each; all reach each other and the gateway', async () => {
    const [one, near, far] = await Promise.all([
      Sandbox.attached(lab, 'n1', { network: 'dual' }),
      Sandbox.attached(lab, 'n1', { network: 'dual' }),
      Sandbox.attached(lab, 'n2', { network: 'dual' }),
    ])
    for (const { result, addresses } of [one, near, far]) {
      expect(addresses.map(isIpv6), `one address per family: ${addresses.join(', ')}`).toEqual([false, true])
      expect(result!.routes).toEqual([
        { dst: '0.0.0.0/0', gw: '10.40.0.1' },
        { dst: '::/0', gw: 'fd00:40::1' },
      ])
    }
    const targets = [...near.addresses, ...far.addresses, '10.40.0.1', 'fd00:40::1']
    const answers = await Promise.all(targets.map((address) => one.reaches(address, 2)))
    expect(
      targets.filter((_, index) => !answers[index]),
      'addresses that do not answer',
    ).toEqual([])
    const route = async (target: string): Promise<string> => (await one.exec(['ip', 'route', 'get', target])).stdout
    expect(await route('2001:db8::1')).toContain('via fd00:40::1')
    await expect(gateway.exec(['ping', '-q', '-c', '1', '-W', '2', far.addresses[1]!])).resolves.toBeDefined()
    expect(await one.check()).toMatchObject({ ok: true })
    const { stdout } = await lab.dctl(['endpoint', 'list', '-o', 'wide'])
    for (const address of one.addresses) expect(stdout).toContain(address)
    await expectNothingElse(lab, [one, near, far])
    await Promise.all([one, near, far].map((sandbox) => sandbox.remove()))
    await expectNothingElse(lab, [])
  })

  it('does not leak into another VLAN with the same subnets, on one node or across, by either family', async () => {
    const [one, near, far] = await Promise.all([
      Sandbox.attached(lab, 'n1', { network: 'dual' }),
      Sandbox.attached(lab, 'n1', { network: 'twin' }),
      Sandbox.attached(lab, 'n2', { network: 'twin' }),
    ])
    expect(await near.reaches(far.addresses[1]!, 2), 'twin works by itself').toBe(true)
    // addresses that only exist over there: else the own VLAN might answer
    const own = new Set([...one.addresses, '10.40.0.1', 'fd00:40::1'])
    const foreign = [...near.addresses, ...far.addresses].filter((address) => !own.has(address))
    expect(foreign.filter(isIpv6).length, 'the test needs IPv6 addresses of the other VLAN').toBeGreaterThan(0)
    const reached = await Promise.all(foreign.map((address) => one.reaches(address)))
    expect(
      foreign.filter((_, index) => reached[index]),
      'addresses of the other VLAN that answered',
    ).toEqual([])
    const all = ['-6', '-q', '-c', '2', '-i', '0.2', '-W', '1']
    const { stdout } = await near.exec(['ping', ...all, 'ff02::1%eth0'])
    const { stdout: neighbours } = await near.exec(['ip', '-6', 'neighbour', 'show', 'dev', 'eth0'])
    expect(`${stdout}${neighbours}`).not.toContain(one.mac)
    await Promise.all([one, near, far].map((sandbox) => sandbox.remove()))
  })

  it('an address that moves to another node with another MAC is made known there at once, by ARP and by ND', async () => {
    const addresses = ['10.40.0.77', 'fd00:40::77']
    const create = (name: string): Promise<unknown> => lab.dctl(['endpoint', 'create', name, '-n', 'dual', '-i', addresses.join(',')]) // prettier-ignore
    await create('first')
    const peer = await Sandbox.attached(lab, 'n1', { network: 'dual' })
    const first = await Sandbox.attached(lab, 'n1', { endpointId: 'first' })
    for (const address of addresses) expect(await peer.reaches(address, 2)).toBe(true)
    expect(await neighboursOf(peer, addresses)).toEqual([first.mac, first.mac])
    await first.remove()
    await expect.poll(() => lab.dctl(['endpoint', 'delete', 'first', '-y']).then(() => true, () => false), { timeout: 20_000 }).toBe(true) // prettier-ignore
    await create('second')
    using capture = captureAnnouncements()
    await capture.isListening
    const second = await Sandbox.attached(lab, 'n2', { endpointId: 'second' })
    expect(second.mac).not.toBe(first.mac)
    await expect
      .poll(() => neighboursOf(peer, addresses), {
        timeout: 10_000,
        message: 'the peer on the other node must learn the new MAC of both addresses without asking',
      })
      .toEqual([second.mac, second.mac])
    await expect.poll(() => capture.text(), { timeout: 10_000, message: 'frames that the gateway saw' }).toMatch(/ARP.*10\.40\.0\.77/) // prettier-ignore
    await expect.poll(() => capture.text(), { timeout: 10_000 }).toMatch(/neighbor advertisement.*tgt is fd00:40::77/)
    const ofAddresses = capture
      .text()
      .split('\n')
      .filter((text) => /(10\.40\.0\.|fd00:40::)77\b/.test(text))
    for (const line of ofAddresses) expect(line).toContain(second.mac)
    for (const address of addresses) expect(await peer.reaches(address, 2)).toBe(true)
    await Promise.all([peer.remove(), second.remove()])
  })

  async function neighboursOf(sandbox: Sandbox, addresses: string[]): Promise<(string | undefined)[]> {
    const { stdout } = await sandbox.exec(['ip', '-json', 'neighbour', 'show', 'dev', 'eth0'])
    const known = JSON.parse(stdout) as { dst: string; lladdr?: string }[]
    return addresses.map((address) => known.find(({ dst }) => dst === address)?.lladdr)
  }

  /** What tcpdump on the gateway sees of ARP and neighbour advertisements. */
  function captureAnnouncements(): { isListening: Promise<unknown>; text(): string } & Disposable {
    const filter = 'arp or (icmp6 and ip6[40] == 136)'
    const command = ['tcpdump', '-l', '-n', '-e', '-v', '-i', 'eth0', filter]
    const child = spawn('nsenter', [`--net=${gateway.netnsPath}`, ...command])
    let text = ''
    child.stdout.on('data', (part: Buffer) => (text += part.toString()))
    const isListening = new Promise((resolve) => {
      child.stderr.on('data', (part: Buffer) => part.toString().includes('listening') && resolve(true))
    })
    // tcpdump breaks a packet into lines that begin with blanks
    return { isListening, text: () => text.replaceAll(/\n\s+/g, ' '), [Symbol.dispose]: () => child.kill() }
  }
})

describe('a network of IPv6 alone', () => {
  it('works without any IPv4 address', async () => {
    const [one, far] = await Promise.all([
      Sandbox.attached(lab, 'n1', { network: 'six' }),
      Sandbox.attached(lab, 'n2', { network: 'six' }),
    ])
    expect([one.addresses.length, isIpv6(one.address)]).toEqual([1, true])
    expect(await one.reaches(far.address, 2)).toBe(true)
    expect(await one.reaches('fd00:42::1', 2), 'the gateway').toBe(true)
    await one.remove()
    await far.remove()
    await expectNothingElse(lab, [])
  })

  it('may have a gateway with a link-local address', async () => {
    const one = await Sandbox.attached(lab, 'n1', { network: 'local' })
    expect(one.result!.routes).toEqual([{ dst: '::/0', gw: 'fe80::1' }])
    expect(await one.reaches(behindRouter, 2), 'what is behind the gateway').toBe(true)
    expect(await one.check()).toMatchObject({ ok: true })
    await one.remove()
    await expectNothingElse(lab, [])
  })

  it('lets nobody use an address that is not their own', async () => {
    const [liar, peer] = await Promise.all([
      Sandbox.attached(lab, 'n1', { network: 'six' }),
      Sandbox.attached(lab, 'n2', { network: 'six' }),
    ])
    await liar.exec(['ip', 'address', 'add', 'fd00:42::bad/64', 'dev', 'eth0', 'nodad'])
    const ping = ['ping', '-q', '-c', '2', '-i', '0.2', '-W', '1']
    const lie = liar.exec([...ping, '-I', 'fd00:42::bad', peer.address])
    await expect(lie, 'a packet with a foreign source address must not arrive').rejects.toThrow()
    // the kernel asks for a neighbour in the name of the packet that waits for it: begin anew
    await liar.exec(['ip', 'address', 'del', 'fd00:42::bad/64', 'dev', 'eth0'])
    await liar.exec(['ip', 'neighbour', 'flush', 'dev', 'eth0'])
    expect(await liar.reaches(peer.address, 2), 'with its own address it works').toBe(true)
    await Promise.all([liar.remove(), peer.remove()])
  })
})
