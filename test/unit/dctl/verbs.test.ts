import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { attachmentFinalizer, Endpoint, Event, Network, Node, PerfTier, Plex, Volume } from '../../../src/api/index.ts'
import { zeroCounters } from '../../../src/network/counters.ts'
import { buildProgram } from '../../../src/cli/program.ts'
import { VerbSession } from '../../../src/cli/session.ts'
import { processWorld } from '../../../src/cli/world.ts'
import { Cluster } from './cluster.ts'

let cluster: Cluster

beforeAll(async () => {
  cluster = await Cluster.start()
  await cluster.addNode('n1')
})
afterAll(() => cluster[Symbol.asyncDispose]())
beforeEach(() => {
  cluster.answers = undefined
  cluster.live.endpoints = []
  cluster.live.problems = []
})

const dctl = (line: string, environment?: Record<string, string>): ReturnType<Cluster['dctl']> =>
  cluster.dctl(line, environment)

describe('networks', () => {
  it('creates the published example, shows it and takes it away again', async () => {
    const line = 'network create blue -s 10.30.0.0/24 --start 10.30.0.10 --end 10.30.0.200 -g 10.30.0.1 -v 100'
    expect(await cluster.done(line)).toBe('network blue created\n')
    await expect
      .poll(() => cluster.done('network list'))
      .toMatch(/blue +pods +10\.30\.0\.10 +191 +0 +10\.30\.0\.1 +100 +- +-/)
    expect(await cluster.done('network list -o wide')).toContain('10.30.0.0/24')
    const object = JSON.parse(await cluster.done('network get blue -o json')) as Network
    expect(object).toMatchObject({ apiVersion: 'carbonado.io/v1alpha1', kind: 'Network', metadata: { name: 'blue' } })
    expect(parse(await cluster.done('-o yaml network get blue'))).toEqual(object)
    expect(await cluster.done('network delete blue -y')).toBe('network blue deleted\n')
    expect(await dctl('network get blue')).toMatchObject({ exitCode: 3, output: '' })
  })

  it('prints a list object, also when it is empty', async () => {
    const list = JSON.parse(await cluster.done('network list --type storage -o json')) as { kind: string; items: [] }
    expect(list).toEqual({ apiVersion: 'carbonado.io/v1alpha1', kind: 'NetworkList', items: [] })
  })

  it('moves the default and extends the range', async () => {
    await cluster.done('network create one -s 10.41.0.0/24 --end 10.41.0.9 -v 41 --set-default')
    await cluster.done('network create two -s 10.42.0.0/24 -v 42')
    const moved = await dctl('network update two --set-default')
    expect(moved).toEqual({
      exitCode: 0,
      output: 'network two updated\n',
      errors: 'note: network one is no longer the default\n',
    })
    await cluster.done('network update one --end 10.41.0.99')
    const [one, two] = await Promise.all(['one', 'two'].map((name) => cluster.control.store.get(Network, { name })))
    expect(one!.spec).toMatchObject({ isDefault: false, subnets: [{ ranges: [{ end: '10.41.0.99' }] }] })
    expect(two!.spec.isDefault).toBe(true)
    await cluster.done('network delete one two -y')
  })

  it('gives the default back when it cannot be moved', async () => {
    await cluster.done('network create one -s 10.41.0.0/24 -v 41 --set-default')
    await cluster.done('network create two -s 10.42.0.0/24 -v 42')
    expect(await dctl('network update two --set-default -p nothing')).toMatchObject({ exitCode: 3 })
    expect((await cluster.control.store.get(Network, { name: 'one' })).spec.isDefault).toBe(true)
    await cluster.done('network delete one two -y')
  })

  it('refuses an update without a change', async () => {
    await cluster.done('network create still -s 10.47.0.0/24 -v 47')
    expect(await dctl('network update still -o json')).toMatchObject({ exitCode: 2, output: '' })
    expect(await dctl('network update still --end 10.47.0.9')).toMatchObject({ exitCode: 2 })
    expect(await dctl('network update still --set-default --clear-default')).toMatchObject({ exitCode: 2 })
    await cluster.done('network update still --sel a=b')
    await cluster.done('network delete still -y')
  })

  it('explains flags that have no effect', async () => {
    const run = await dctl(
      'network create plain -s 10.43.0.0/24 --sel a=b --host-network --gateway-mac 02:00:00:00:00:01',
    )
    expect(run.exitCode).toBe(0)
    for (const flag of ['--selectors', '--host-network', '--gateway-mac']) expect(run.errors).toContain(flag)
    await cluster.done('network delete plain -y')
  })

  it.each([
    ['-s 10.30.0.0/24 -v 0', 2, '--vlan "0"'],
    ['-s 10.30.0.0/24 -v 4095', 2, '--vlan "4095"'],
    ['-s 10.30.0.0/24 -v blue', 2, '--vlan "blue"'],
    ['-s 10.30.0.1/24', 2, '10.30.0.0/24'],
    ['-s 10.30.0.0/240', 2, '--subnet'],
    ['', 2, "required option '-s, --subnet <cidr>' not specified"],
    ['-s 10.30.0.0/24 --subnett x', 2, 'Did you mean --subnet'],
    ['-s 10.30.0.0/24 -p nothing', 3, 'perf-tier nothing does not exist'],
  ])('refuses create %s', async (flags, exitCode, text) => {
    const run = await dctl(`network create bad ${flags}`)
    expect(run).toMatchObject({ exitCode, output: '' })
    expect(run.errors).toMatch(/^dctl: /)
    expect(run.errors).toContain(text)
  })

  it('refuses a name that is none, a name that is taken and overlapping ranges', async () => {
    await cluster.done('network create first -s 10.44.0.0/24 -v 44')
    expect(await dctl('network create Blue_1 -s 10.45.0.0/24')).toMatchObject({ exitCode: 2 })
    expect(await dctl('network create first -s 10.44.0.0/24 -v 44')).toMatchObject({ exitCode: 4 })
    expect(await dctl('network create second -s 10.44.0.0/24 -v 44')).toMatchObject({ exitCode: 4 })
    await cluster.done('network delete first -y')
  })
})

describe('every list', () => {
  const world = processWorld()
  const groups = buildProgram(new VerbSession(world), world).commands
  const lists = groups.flatMap((group) =>
    group.commands.flatMap((verb) => (verb.name() === 'list' ? `${group.name()} list` : [])),
  )

  it.each(lists)('%s prints a table, a wider one, JSON and YAML', async (line) => {
    const [table, wide] = [await cluster.done(line), await cluster.done(`${line} -o wide`)]
    expect(wide.split('\n')[0]!.length).toBeGreaterThanOrEqual(table.trimEnd().split('\n')[0]!.trimEnd().length)
    const object = JSON.parse(await cluster.done(`${line} -o json`)) as { items: unknown[] }
    expect(Array.isArray(object.items)).toBe(true)
    expect(parse(await cluster.done(`${line} -o yaml`))).toEqual(object)
  })
})

describe('questions', () => {
  it('asks, takes no for an answer and does nothing then', async () => {
    await cluster.done('network create asked -s 10.46.0.0/24 -v 46')
    cluster.answers = ['n', '']
    expect(await dctl('network delete asked')).toEqual({ exitCode: 1, output: '', errors: 'Nothing was done.\n' })
    expect(await dctl('network delete asked')).toMatchObject({ exitCode: 1 })
    cluster.answers = ['Yes']
    expect(await dctl('network delete asked')).toMatchObject({ exitCode: 0 })
  })

  it('does not ask where there is no terminal', async () => {
    const run = await dctl('network delete asked')
    expect(run).toMatchObject({ exitCode: 2, output: '' })
    expect(run.errors).toContain('-y')
  })
})

describe('tiers', () => {
  it('creates the published example and lists it beside the default ones', async () => {
    await cluster.done('perf-tier create gold -i 1k -I 10K -b 0.5G -B 2G -l team=a')
    const list = await cluster.done('perf-tier list')
    expect(list).toMatch(/gold +1k +500M +10k +2G +team=a/)
    expect(list).toMatch(/high +20k +500M +- +- +-/)
    expect(list).toMatch(/best-effort +0 +0 +- +- +-/)
    expect(await cluster.control.store.get(PerfTier, { name: 'gold' })).toMatchObject({
      spec: { networkBandwidth: '0.5G' },
    })
    await cluster.done('perf-tier delete gold -y')
  })

  it.each(['-b -5', '-b 10Q', '-b 2G -B 1G', '-i 1.5', '-b 99999999999T', '-l nothing'])(
    'refuses %s',
    async (flags) => {
      expect(await dctl(`perf-tier create bad ${flags}`)).toMatchObject({ exitCode: 2, output: '' })
    },
  )
})

describe('endpoints', () => {
  beforeAll(() => cluster.done('network create red -s 10.50.0.0/24 -g 10.50.0.1 -v 50 -p high'))
  afterAll(() => cluster.done('network delete red -y'))

  it('creates a static endpoint with the address that was asked for', async () => {
    expect(await cluster.done('endpoint create ep1 -n red -i 10.50.0.50 -l app=web --ns default')).toMatch(
      /^endpoint ep1 created: 10\.50\.0\.50\/24, MAC [0-9a-f:]{17}\n$/,
    )
    expect(await cluster.done('endpoint list -n red')).toMatch(
      /ep1 +default +- +red +10\.50\.0\.50 +[0-9a-f:]{17} +10\.50\.0\.1 +50 +- +- +app=web/,
    )
    expect(await cluster.done('endpoint list -l app=other')).not.toContain('ep1')
    expect(await cluster.done('endpoint describe ep1')).toMatch(/Promised: +500 Mbit\/s/)
    await cluster.done('endpoint delete ep1 -y')
  })

  it('leaves nothing behind when control refuses the address', async () => {
    for (const address of ['10.50.0.1', '10.99.0.1', '10.50.0.255']) {
      const run = await dctl(`endpoint create ep2 -n red -i ${address}`)
      expect(run.exitCode).toBeGreaterThan(0)
      expect(run.errors).toContain(address)
    }
    expect(await dctl('endpoint create ep2 -n nothing')).toMatchObject({ exitCode: 3, output: '' })
    await expect.poll(() => dctl('endpoint get ep2')).toMatchObject({ exitCode: 3 })
  })

  it('shows what the agent measures, and the rest when it does not answer', async () => {
    await cluster.done('endpoint create ep3 -n red')
    const { uid } = await attach('ep3', 'n1')
    cluster.live.endpoints = [liveEndpoint(uid)]
    expect(await cluster.done('endpoint list -o wide')).toMatch(/Attached +high +500M +480M +99% +0 +- +3/)
    const described = await cluster.done('endpoint describe ep3')
    expect(described).toMatch(/Attainment: +99% \(99 of 100/)
    expect(described).toMatch(/spoofed-arp: +3/)
    expect(JSON.parse(await cluster.done('endpoint describe ep3 -o json'))).toMatchObject({
      endpoint: { kind: 'Endpoint', metadata: { name: 'ep3' } },
      live: { windows: { withDemand: 100, attained: 99 } },
    })
    await cluster.tellAgentAddress('n1', '127.0.0.1:1')
    const silent = await dctl('endpoint list -o wide')
    await cluster.tellAgentAddress('n1', cluster.agent.address())
    expect(silent.exitCode).toBe(0)
    expect(silent.errors).toContain('no live figures of node n1')
    expect(silent.output).toMatch(/Attached +high +- +- +- +-/)
  })

  it('does not delete what a container holds, unless forced', async () => {
    const refused = await dctl('endpoint delete ep3 -y')
    expect(refused).toMatchObject({ exitCode: 4, output: '' })
    expect(refused.errors).toContain('held by container c-ep3 on node n1')
    const forced = await dctl('endpoint delete ep3 -f')
    expect(forced).toMatchObject({ exitCode: 0 })
    expect(forced.output).toContain('goes when the agent of node n1 has detached it')
    await cluster.control.store.patch(
      Endpoint,
      { name: 'ep3', namespace: 'default' },
      { metadata: { finalizers: null } },
    )
  })
})

/** What an agent does to a static endpoint when it attaches it. */
async function attach(name: string, nodeName: string): Promise<{ uid: string }> {
  const { store } = cluster.control
  const reference = { name, namespace: 'default' }
  const holder = { containerId: `c-${name}`, interfaceName: 'eth0' }
  const metadata = { finalizers: [attachmentFinalizer] }
  const { metadata: bound } = await store.patch(Endpoint, reference, { metadata, spec: { nodeName, holder } })
  await expect
    .poll(async () => (await store.get(Endpoint, reference)).status?.allocation)
    .toMatchObject({ state: 'Allocated', generation: bound.generation })
  const attachment = {
    nodeName,
    containerId: holder.containerId,
    hostInterface: 'cb1',
    since: new Date().toISOString(),
  }
  await store.patch(Endpoint, reference, { status: { attachment } }, { subresource: 'status' })
  return { uid: bound.uid! }
}

function liveEndpoint(uid: string): Cluster['live']['endpoints'][number] {
  return {
    ...zeroCounters(uid),
    namespace: 'default',
    name: 'ep3',
    containerId: 'c-ep3',
    interfaceName: 'eth0',
    bandwidthFloor: 500e6,
    drops: { ...zeroCounters(uid).drops, 'spoofed-arp': 3 },
    windows: { withDemand: 100, attained: 99 },
    rates: { sent: 500e6, received: 0, delivered: 480_123_456, drops: {} },
    isLinkUp: true,
  }
}

describe('nodes', () => {
  it('shows what is promised of what there is', async () => {
    await expect.poll(() => cluster.done('cluster status')).toMatch(/n1 +Ready +0\/63 +0\/[0-9.]+G/)
    expect(await cluster.done('node list')).toMatch(/n1 +Ready +eth0 +10G +1500 +0\/63/)
    expect(await cluster.done('node health n1')).toMatch(/n1 +Ready +\d+s +\d+s +up +0/)
    expect(await cluster.done('node network')).toMatch(/n1 +pods +eth0 +- +10G +1500 +up/)
    expect(JSON.parse(await cluster.done('cluster status -o json'))).toMatchObject({ kind: 'NodeList' })
  })

  it('sets, keeps and removes labels', async () => {
    await cluster.done('node label n1 rack=a disk=fast')
    expect(await dctl('node label n1 rack=b')).toMatchObject({ exitCode: 4 })
    expect(await cluster.done('node label n1 rack=b disk- -o')).toBe('node n1 has labels rack=b\n')
    expect(await cluster.done('node list -l rack=b')).toContain('n1')
    expect(await dctl('node label n1 nonsense')).toMatchObject({ exitCode: 2 })
  })

  it('checks: nothing, a problem, and an agent that does not answer', async () => {
    expect(await dctl('node check')).toEqual({ exitCode: 0, output: '1 node checked, no problem\n', errors: '' })
    cluster.live.problems = [
      { reason: 'MtuTooSmall', message: 'eth0 carries 1400 bytes', remedy: 'Set its MTU to 1500.' },
    ]
    expect(await dctl('node check n1')).toMatchObject({
      exitCode: 1,
      output: 'n1: MtuTooSmall: eth0 carries 1400 bytes\n  Set its MTU to 1500.\n1 node checked, 1 problem\n',
    })
    const items = JSON.parse((await dctl('node check -o json')).output) as object
    expect(items).toMatchObject({ items: [{ node: 'n1', reason: 'MtuTooSmall' }] })
    await cluster.addNode('n3', '127.0.0.1:1')
    const unreachable = await dctl('node check n3')
    expect(unreachable.exitCode).toBe(1)
    expect(unreachable.output).toContain('n3: AgentUnreachable')
    await cluster.control.store.delete(Node, { name: 'n3' })
    expect(await dctl('node check nothing')).toMatchObject({ exitCode: 3 })
  })

  it('shows a link that has become too slow for its floors, and every plane', async () => {
    await cluster.done('network create slow -s 10.60.0.0/24 -v 60')
    await cluster.done('perf-tier create half -b 5G')
    await cluster.done('endpoint create ep6 -n slow')
    await cluster.control.store.patch(
      Endpoint,
      { name: 'ep6', namespace: 'default' },
      { spec: { perfTierName: 'half' } },
    )
    await attach('ep6', 'n1')
    const pods = { plane: 'pods', interface: 'eth0', link: 'bond0', linkRate: 1e9, mtu: 1500, carrier: true }
    const members = [
      { name: 'eth1', up: true, active: true, rate: 1e9 },
      { name: 'eth2', up: false, active: false },
    ]
    await cluster.tellAgentAddress('n1', cluster.agent.address(), {
      linkRate: 1e9,
      uplinks: [
        { ...pods, members },
        { ...pods, plane: 'management', interface: 'eth0.20', vlan: 20 },
      ],
    })
    const management = { interface: 'eth0.20', rate: '100M' }
    await cluster.control.store.patch(Node, { name: 'n1' }, { spec: { uplinks: { management } } })
    await expect.poll(() => cluster.done('cluster status')).toMatch(/n1 +Ready,PromiseAtRisk +1\/63 +5G\/840M/)
    expect(await cluster.done('cluster status')).toMatch(/Nodes: +1 of 1 ready/)
    expect(await cluster.done('node list')).toMatch(/n1 +Ready,PromiseAtRisk +eth0 +1G/)
    expect(await cluster.done('node health -o wide')).toMatch(/LinkTooSlow +.*: 16 % of each floor is kept\./)
    const planes = await cluster.done('node network -o wide')
    expect(planes).toMatch(/n1 +pods +eth0 +eth1,\(eth2\) +1G +1500 +up +- +bond0/)
    expect(planes).toMatch(/n1 +management +eth0\.20 +- +1G +1500 +up +100M +bond0 +20/)
    expect(await cluster.done('event list --severity warning')).toMatch(
      /PromiseAtRisk .*endpoint\/ep6|endpoint\/ep6 .*PromiseAtRisk/,
    )
    await cluster.control.store.patch(Node, { name: 'n1' }, { spec: { uplinks: { management: null } } })
    await cluster.tellAgentAddress('n1', cluster.agent.address())
    await expect.poll(() => cluster.done('node list')).toMatch(/n1 +Ready +eth0/)
  })

  it('deletes a node that is off, and gives back what was on it only when that is stated', async () => {
    const { store } = cluster.control
    await store.create(Node, {
      metadata: { name: 'n4' },
      spec: { uplinks: { pods: { interface: 'eth0', rate: '10G' } }, maximumInterfaces: 63 },
    })
    await cluster.done('endpoint create ep7 -n slow')
    await attach('ep7', 'n4')
    await store.create(Endpoint, {
      metadata: { name: 'web', namespace: 'default', finalizers: [attachmentFinalizer] },
      spec: {
        networkName: 'slow',
        nodeName: 'n4',
        isStatic: false,
        holder: { containerId: 'c', interfaceName: 'eth0' },
      },
    })
    const alive = await dctl('node delete n1 --node-is-off -y')
    expect(alive).toMatchObject({ exitCode: 4 })
    expect(alive.errors).toContain('the agent of node n1 reports, so the node is on')
    const used = await dctl('node delete n4 -y')
    expect(used).toMatchObject({ exitCode: 4 })
    expect(used.errors).toMatch(/endpoints are still on node n4: default\/(ep7, default\/web|web, default\/ep7)/)
    const volume = await store.create(Volume, { metadata: { name: 'data' }, spec: { size: '1G', mirrorCount: 1 } })
    const plex = { volumeName: 'data', volumeUid: volume.metadata.uid!, nodeName: 'n4', driveName: 'd', poolId: 'p' }
    await store.create(Plex, {
      metadata: { name: 'data.p0' },
      spec: { ...plex, size: 1e9, iopsFloor: 0, snapshots: [] },
    } as unknown as Plex)
    const stored = await dctl('node delete n4 --node-is-off -y')
    expect(stored.errors).toContain('copies of volumes are on the drives of node n4: data')
    await store.delete(Plex, { name: 'data.p0' })
    await store.delete(Volume, { name: 'data' })
    expect(await dctl('node get n4')).toMatchObject({ exitCode: 0 })
    const before = (await store.get(Endpoint, { name: 'ep7', namespace: 'default' })).status!.allocation
    expect(await cluster.done('node delete n4 --node-is-off -y')).toBe('node n4 deleted, 2 endpoints given back\n')
    expect(await dctl('node get n4')).toMatchObject({ exitCode: 3 })
    expect(await dctl('endpoint get web')).toMatchObject({ exitCode: 3 })
    const free = await store.get(Endpoint, { name: 'ep7', namespace: 'default' })
    expect(free.spec).toMatchObject({ isStatic: true })
    expect(free.spec.holder ?? free.spec.nodeName ?? free.status!.attachment ?? undefined).toBeUndefined()
    expect(free.metadata.finalizers ?? []).toEqual([])
    expect(before).toMatchObject({ state: 'Allocated' })
    await attach('ep7', 'n1') // usable elsewhere at once
    const after = (await store.get(Endpoint, { name: 'ep7', namespace: 'default' })).status!.allocation
    expect(after).toMatchObject({ addresses: (before as { addresses: object }).addresses })
  })
})

describe('events', () => {
  beforeAll(async () => {
    for (let number = 1; number <= 3; number++) await cluster.control.store.create(Event, eventNumber(number))
  })

  it('shows the newest first, filtered and in pages', async () => {
    const all = await cluster.done('event list --source test')
    expect(
      all
        .split('\n')
        .map((line) => /number \d/.exec(line)?.[0])
        .filter(Boolean),
    ).toEqual(['number 3', 'number 2', 'number 1'])
    expect(await cluster.done('event list --source test --severity warning')).not.toContain('number 3')
    expect(await cluster.done('event list --source test --limit 1 --offset 1')).toMatch(/number 2/)
    expect(await cluster.done('event list --source test --node n9')).toMatch(
      /node\/n9 +carbonado\.io\/test@here +5 +number 2/,
    )
    expect(await cluster.done('event list --source test --ns other')).not.toContain('number')
    expect(await cluster.done('event list --source test --volume n9')).not.toContain('number')
  })

  it.each(['--severity loud', '--limit 0', '--limit many', '--offset -1'])('refuses %s', async (flags) => {
    expect(await dctl(`event list ${flags}`)).toMatchObject({ exitCode: 2, output: '' })
  })
})

function eventNumber(number: number): Event {
  return {
    metadata: { name: `event-${number}`, namespace: 'default' },
    eventTime: new Date(Date.UTC(2020, 0, number)).toISOString(),
    ...(number === 2 ? { series: { count: 5, lastObservedTime: '2020-01-02T12:00:00Z' } } : {}),
    reportingController: number === 1 ? 'test' : 'carbonado.io/test',
    reportingInstance: 'here',
    action: 'Test',
    reason: 'Tested',
    regarding: { kind: 'Node', name: number === 2 ? 'n9' : 'n1' },
    note: `number ${number}`,
    type: number === 3 ? 'Normal' : 'Warning',
  }
}
