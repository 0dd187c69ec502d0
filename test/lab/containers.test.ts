import './own-lab.ts'
import { existsSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CniFailure, containerLog, describeLeftovers, findLeftovers, Lab, takeLabDown } from '../../lab/index.ts'

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up()
  const range = ['--start', '10.30.0.10', '--end', '10.30.0.200', '--gateway', '10.30.0.1']
  await lab.dctl(['network', 'create', 'blue', '--subnet', '10.30.0.0/24', ...range, '--vlan', '100'])
  await lab.addHost({ name: 'gateway', vlan: 100, address: '10.30.0.1/24' })
})
afterAll(() => lab.down())

const ping = (address: string): string[] => ['ping', '-c', '3', '-i', '0.2', '-W', '1', address]

describe('a container of the lab', () => {
  it('runs with its own root, processes and name, reaches the gateway, and leaves nothing on its node', async () => {
    const before = (await lab.nodeExec('n1', ['ls', '/run/netns', '/run/containers', '/run/runc'])).stdout
    const container = await lab.startContainer({ node: 'n1', name: 'web', network: 'blue' })
    await container.exec(ping('10.30.0.1'))
    const { stdout } = await container.exec([
      'sh',
      '-c',
      'hostname; ls /proc | grep -c "^[0-9]"; cat /sys/class/net/eth0/address',
    ])
    const [name, processes, mac] = stdout.trim().split('\n')
    expect({ name, mac }).toEqual({ name: 'web', mac: container.mac })
    expect(Number(processes)).toBeLessThan(8)
    await expect(container.exec(['touch', '/etc/written'])).rejects.toMatchObject({ exitCode: 1 })
    expect(existsSync(container.hostNetnsPath)).toBe(true)
    await container.stop()
    expect((await lab.nodeExec('n1', ['ls', '/run/netns', '/run/containers', '/run/runc'])).stdout).toBe(before)
    expect(() => lab.container('web')).toThrow('no container "web"')
  })

  it('has no power over its network unless it is given', async () => {
    const plain = await lab.startContainer({ node: 'n1', name: 'plain', network: 'blue' })
    const mighty = await lab.startContainer({
      node: 'n2',
      name: 'mighty',
      network: 'blue',
      capabilities: ['NET_ADMIN'],
    })
    const change = ['ip', 'link', 'set', 'eth0', 'mtu', '1400']
    await expect(plain.exec(change)).rejects.toMatchObject({ stderr: expect.stringContaining('not permitted') })
    await mighty.exec(change)
    await Promise.all([plain.kill(), mighty.kill()])
  })

  it('keeps what it prints, and is seen to end', async () => {
    const container = await lab.startContainer({
      node: 'n3',
      name: 'brief',
      network: 'blue',
      command: ['echo', 'hello'],
    })
    await expect.poll(() => container.isRunning, { timeout: 20_000 }).toBe(false)
    expect(readFileSync(containerLog('brief'), 'utf8')).toBe('hello\n')
    await container.kill()
  })

  it('is undone when its program does not exist or ADD refuses', async () => {
    const asked = { node: 'n1', name: 'wrong' }
    await expect(lab.startContainer({ ...asked, network: 'blue', command: ['/nowhere'] })).rejects.toThrow('/nowhere')
    const refusal = await lab.startContainer({ ...asked, network: 'nowhere' }).catch((error: unknown) => error)
    expect(refusal).toBeInstanceOf(CniFailure)
    expect((refusal as CniFailure).cni.msg).toContain('nowhere')
    expect(lab.containers()).toEqual([])
    expect((await lab.nodeExec('n1', ['ls', '/run/netns'])).stdout).toBe('')
  })

  it('starts twenty at a time, all with addresses of their own', async () => {
    const names = Array.from({ length: 20 }, (_, index) => `many-${index}`)
    const all = await Promise.all(
      names.map((name, index) => lab.startContainer({ node: lab.nodes[index % 3]!, name, network: 'blue' })),
    )
    expect(new Set(all.map(({ address }) => address)).size).toBe(20)
    await all[0]!.exec(ping(all[1]!.address))
    await all[0]!.exec(ping(all[3]!.address))
    await Promise.all(all.map((container) => container.kill()))
    expect(lab.containers()).toEqual([])
  })
})

describe('faults', () => {
  it('a container goes on while its agent is dead; a new one waits for the agent and then starts', async () => {
    const container = await lab.startContainer({ node: 'n1', name: 'steady', network: 'blue' })
    await lab.killAgent('n1')
    await container.exec(ping('10.30.0.1'))
    const asked = { node: 'n1', name: 'late', network: 'blue' }
    await expect(lab.startContainer(asked)).rejects.toMatchObject({ code: 'Unavailable', cni: { code: 11 } })
    await lab.startAgent('n1')
    const late = await lab.startContainer(asked)
    await late.exec(ping(container.address))
    await Promise.all([late.kill(), container.kill()])
  })

  it('a container can be removed while control is down, and after its node lost power', async () => {
    const first = await lab.startContainer({ node: 'n1', name: 'first', network: 'blue' })
    const second = await lab.startContainer({ node: 'n2', name: 'second', network: 'blue' })
    await lab.stopControl()
    await first.kill()
    await lab.startControl()
    await lab.killNode('n2')
    expect(second.isRunning).toBe(false)
    await lab.startNode('n2')
    await second.kill()
    await lab.waitForReady()
    expect(lab.containers()).toEqual([])
  })

  it('killing everything at once and taking the lab down leaves nothing', async () => {
    await Promise.all(lab.nodes.map((node) => lab.startContainer({ node, name: `on-${node}`, network: 'blue' })))
    lab.host('gateway').spawn(['sleep', '1000'])
    await Promise.all([lab.killAgent('n1'), lab.stopControl({ kill: true }), lab.killNode('n3')])
    await lab.down()
    expect(describeLeftovers(await findLeftovers())).toEqual([])
  })
})
