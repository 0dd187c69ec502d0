import './own-lab.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { annotationsCapability, Lab, takeLabDown, type CniCommand, type CniRequest } from '../../lab/index.ts'
import { programStates } from '../../lab/state.ts'
import { Endpoint } from '../../src/api/index.ts'
import { expectNothingElse } from '../support/inventory.ts'
import { describe as describeError, refusal, Sandbox } from '../support/sandboxes.ts'

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ nodes: 2 })
  await lab.dctl(['network', 'create', 'blue', '-s', '10.30.0.0/24', '-g', '10.30.0.1', '-v', '100'])
  await lab.dctl(['network', 'create', 'green', '-s', '10.31.0.0/24', '-v', '200'])
})
afterAll(() => lab.down())

const nested = '['.repeat(200_000)
const annotated = (text: string): CniRequest => ({
  configuration: { runtimeConfig: { [annotationsCapability]: { 'carbonado.io/endpoint0': text } } },
})
const environment = (variables: Record<string, string | undefined>): CniRequest => ({ environment: variables })
const configuration = (fields: Record<string, unknown>): CniRequest => ({ configuration: fields })

/** What is sent in place of a good ADD, the code of the specification that answers it, and what the message names. */
const wrong: [string, CniRequest, number, RegExp][] = [
  ['nothing at all', { rawInput: '' }, 6, /not JSON/],
  ['half an object', { rawInput: '{"cniVersion":"1.1.0","name":' }, 6, /not JSON/],
  ['a list', { rawInput: '[]' }, 6, /a list/],
  ['null', { rawInput: 'null' }, 6, /null/],
  ['lists in lists without end', { rawInput: nested }, 6, /not JSON/],
  ['what is not UTF-8', { rawInput: Buffer.from([0x7b, 0xff, 0xfe, 0x7d]) }, 6, /not JSON/],
  ['binary zeros', { rawInput: Buffer.alloc(5000) }, 6, /not JSON/],
  ['more than a mebibyte', { rawInput: Buffer.alloc(1024 * 1024 + 1, ' ') }, 6, /1 MiB/],
  ['twenty mebibytes', { rawInput: Buffer.alloc(20 * 1024 * 1024, ' ') }, 6, /1 MiB/],
  ['a version that is not there yet', configuration({ cniVersion: '1.2.0' }), 1, /1\.2\.0/],
  ['a version that never was', configuration({ cniVersion: '0.3.2' }), 1, /0\.3\.2/],
  ['a version that is a number', configuration({ cniVersion: 1 }), 1, /version 1 /],
  ['no name', configuration({ name: undefined }), 7, /name/],
  ['a name that is a path', configuration({ name: '../../etc' }), 7, /name/],
  ['a network that is a number', configuration({ network: 7 }), 7, /network/],
  ['a misspelt field', configuration({ netwrok: 'blue' }), 2, /netwrok/],
  ['an address range of its own', configuration({ ipam: { type: 'host-local' } }), 2, /ipam/],
  ['an annotation that is not JSON', annotated('network=blue'), 7, /not JSON.*network=blue/],
  ['an annotation that is half JSON', annotated('{"network":"blue"'), 7, /not JSON/],
  ['an annotation that is a list', annotated('["blue"]'), 7, /a list.*JSON object/],
  ['an annotation with a key nobody knows', annotated('{"vlan":4}'), 2, /vlan/],
  ['an annotation with a network that cannot be', annotated('{"network":"../blue"}'), 7, /\.\.\/blue/],
  [
    'a second interface without a first',
    { annotations: { 'carbonado.io/endpoint1': '{"network":"blue"}' } },
    7,
    /endpoint1.*without.*endpoint0/,
  ],
  ['an unknown network', annotated('{"network":"violet"}'), 103, /network.*violet/],
  ['an unknown tier', annotated('{"network":"blue","perfTier":"platinum"}'), 103, /platinum/],
  ['an unknown static endpoint', annotated('{"endpointId":"nobody"}'), 103, /nobody/],
  ['no network, where none is the default', annotated('{}'), 103, /no default network/],
  ['no verb', environment({ CNI_COMMAND: undefined }), 4, /CNI_COMMAND/],
  ['a verb that is none', environment({ CNI_COMMAND: 'REMOVE' }), 4, /CNI_COMMAND.*REMOVE/],
  ['no container', environment({ CNI_CONTAINERID: undefined }), 4, /CNI_CONTAINERID/],
  ['a container with a path for a name', environment({ CNI_CONTAINERID: '../../x' }), 4, /CNI_CONTAINERID/],
  ['no interface name', environment({ CNI_IFNAME: '' }), 4, /CNI_IFNAME/],
  ['an interface name that is too long', environment({ CNI_IFNAME: 'a-very-long-name' }), 4, /CNI_IFNAME/],
  ['an interface name for a command line', environment({ CNI_IFNAME: 'eth0 up; reboot' }), 4, /CNI_IFNAME/],
  ['the loopback interface', environment({ CNI_IFNAME: 'lo' }), 4, /CNI_IFNAME/],
  ['arguments that are no pairs', environment({ CNI_ARGS: 'K8S_POD_NAME' }), 4, /CNI_ARGS/],
  ['no namespace', environment({ CNI_NETNS: undefined }), 4, /CNI_NETNS/],
  ['a relative namespace', environment({ CNI_NETNS: 'run/netns/x' }), 4, /CNI_NETNS/],
  ['a namespace that has gone', { netns: '/run/netns/gone' }, 3, /\/run\/netns\/gone.*does not exist/],
  ['the namespace of a process that has gone', { netns: '/proc/999999999/ns/net' }, 3, /does not exist/],
  ["the node's own namespace", { netns: '/proc/1/ns/net' }, 4, /not the network namespace of a container/],
  ['a namespace of another kind', { netns: '/proc/1/ns/mnt' }, 4, /not the network namespace/],
  ['a file for a namespace', { netns: '/etc/hostname' }, 4, /not the network namespace/],
]

describe('an ADD that is wrong', () => {
  let sandbox: Sandbox
  beforeAll(async () => {
    sandbox = await Sandbox.make(lab, 'n1', { network: 'blue' })
  })
  afterAll(() => sandbox.remove())

  it.each(wrong)('is refused: %s', async (_what, changes, code, message) => {
    const outcome = await sandbox.add(changes)
    const error = refusal(outcome)
    expect(outcome).toMatchObject({ ok: false, exitCode: 1 })
    expect(error, describeError(error)).toMatchObject({ code, msg: expect.stringMatching(message) })
    expect(error.details, 'an error says what to do').toMatch(/\w{4}/)
    expect(error.cniVersion).toMatch(/^[01]\.[0-9]\.[0-9]$/)
  })

  it('leaves nothing behind, and the good one still works', async () => {
    await expectNothingElse(lab, [])
    expect(await sandbox.add()).toMatchObject({ ok: true })
    await sandbox.del()
  })

  it('is not confused with one that is merely big', async () => {
    const outcome = await sandbox.add(configuration({ 'cni.dev/filler': 'x'.repeat(1_000_000) }))
    expect(outcome).toMatchObject({ ok: true })
    await sandbox.del()
    await expectNothingElse(lab, [])
  })
})

describe('ADD', () => {
  it('repeated with the same arguments gives the same result and makes nothing new', async () => {
    const sandbox = await Sandbox.attached(lab, 'n1', { network: 'blue' })
    const first = sandbox.result
    const again = await Promise.all(Array.from({ length: 8 }, () => sandbox.add()))
    for (const outcome of again) expect(outcome).toEqual({ ok: true, result: first })
    await expectNothingElse(lab, [sandbox])
    await sandbox.remove()
  })

  it('sent eight times at once makes one interface', async () => {
    const sandbox = await Sandbox.make(lab, 'n1', { network: 'blue' })
    const outcomes = await Promise.all(Array.from({ length: 8 }, () => sandbox.add()))
    for (const outcome of outcomes) expect(outcome).toEqual({ ok: true, result: sandbox.result })
    await expectNothingElse(lab, [sandbox])
    await sandbox.remove()
  })

  it('repeated with other arguments is refused and what is attached stays', async () => {
    const sandbox = await Sandbox.attached(lab, 'n1', { network: 'blue' })
    const first = sandbox.result
    const other = await lab.createNetns('n1', `${sandbox.id}-other`)
    const changes = [
      annotated('{"network":"green"}'),
      annotated('{"network":"blue","perfTier":"high"}'),
      { netns: other },
    ]
    for (const changed of changes) {
      const error = refusal(await sandbox.add(changed))
      expect(error).toMatchObject({ code: 101, msg: expect.stringContaining('already attached') })
      expect(error.details).toContain('DEL')
    }
    expect(await sandbox.check({ prevResult: first })).toMatchObject({ ok: true })
    await expectNothingElse(lab, [sandbox])
    await lab.removeNetns('n1', `${sandbox.id}-other`)
    await sandbox.remove()
  })

  it('into a namespace that has such an interface already is refused and undone', async () => {
    const sandbox = await Sandbox.make(lab, 'n1', { network: 'blue' })
    await sandbox.exec(['ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'other'])
    expect(refusal(await sandbox.add())).toMatchObject({ code: 101, msg: expect.stringContaining('eth0') })
    await expectNothingElse(lab, [])
    await sandbox.exec(['ip', 'link', 'show', 'eth0']) // somebody else's: still there
    await sandbox.remove()
  })
})

describe('DEL', () => {
  it('of what was never added succeeds', async () => {
    const sandbox = await Sandbox.make(lab, 'n2', { network: 'blue' })
    expect(await sandbox.del()).toEqual({ ok: true, result: undefined })
    expect(await sandbox.del({ netns: '' })).toEqual({ ok: true, result: undefined })
    await sandbox.remove()
  })

  it('succeeds again and again, at the same time too, also once the namespace and the network are gone', async () => {
    await lab.dctl(['network', 'create', 'brief', '-s', '10.32.0.0/24', '-v', '300'])
    const sandbox = await Sandbox.attached(lab, 'n2', { network: 'brief' })
    await lab.removeNetns('n2', sandbox.id)
    const outcomes = await Promise.all(Array.from({ length: 5 }, () => sandbox.del()))
    for (const outcome of outcomes) expect(outcome).toEqual({ ok: true, result: undefined })
    await expectNothingElse(lab, [])
    await lab.dctl(['network', 'delete', 'brief', '-y'])
    expect(await sandbox.del()).toEqual({ ok: true, result: undefined })
    expect(await sandbox.del(configuration({ unknownField: 1 }))).toEqual({ ok: true, result: undefined })
  })

  it('during an ADD waits for it and takes everything back', async () => {
    const sandbox = await Sandbox.make(lab, 'n2', { network: 'blue' })
    const control = programStates.get('control')!.pid
    process.kill(control, 'SIGSTOP') // holds the ADD up for as long as the test needs
    let add, del
    try {
      add = sandbox.add()
      const isPrepared = (): Promise<boolean> => sandbox.exec(['ip', 'link', 'show', 'eth0']).then(() => true, () => false) // prettier-ignore
      await expect.poll(isPrepared).toBe(true) // what an ADD does before control answers
      del = sandbox.del()
      await new Promise((resolve) => setTimeout(resolve, 200))
    } finally {
      process.kill(control, 'SIGCONT')
    }
    const outcomes = await Promise.all([add, del])
    expect(outcomes[0], 'ADD must end with a result').toMatchObject({ ok: true })
    expect(outcomes[1]).toEqual({ ok: true, result: undefined })
    await expectNothingElse(lab, [])
    await sandbox.remove()
  })

  it('followed by ADD at once, twenty times, leaves one interface', async () => {
    const sandbox = await Sandbox.attached(lab, 'n2', { network: 'blue' })
    for (let round = 0; round < 20; round++) {
      expect(await sandbox.del()).toMatchObject({ ok: true })
      const outcome = await sandbox.add()
      expect(outcome, `round ${round}: ADD must succeed right after DEL`).toMatchObject({ ok: true })
    }
    await expectNothingElse(lab, [sandbox])
    await sandbox.remove()
  })
})

describe('GC', () => {
  const collect = (keep: Sandbox[], changes: Record<string, unknown> = {}): ReturnType<Lab['cni']> =>
    lab.cni('n1', 'GC', {
      configuration: {
        'cni.dev/valid-attachments': keep.map(({ id }) => ({ containerID: id, ifname: 'eth0' })),
        ...changes,
      },
    })

  it('removes what is not listed, and only that', async () => {
    const all = await Promise.all([1, 2, 3, 4].map(() => Sandbox.attached(lab, 'n1', { network: 'blue' })))
    const elsewhere = await Sandbox.attached(lab, 'n2', { network: 'blue' })
    const [one, two, three, four] = all as [Sandbox, Sandbox, Sandbox, Sandbox]
    expect(await collect(all)).toMatchObject({ ok: true })
    await expectNothingElse(lab, [...all, elsewhere])
    expect(await collect([one, three])).toMatchObject({ ok: true })
    await expectNothingElse(lab, [one, three, elsewhere])
    expect(await one.check()).toMatchObject({ ok: true })
    expect(refusal(await two.check())).toMatchObject({ code: 3 })
    expect(await collect([], { name: 'another-cni-network' })).toMatchObject({ ok: true })
    await expectNothingElse(lab, [one, three, elsewhere])
    const withoutList = { 'cni.dev/valid-attachments': undefined }
    expect(refusal(await collect([], withoutList))).toMatchObject({
      code: 7,
      msg: expect.stringContaining('valid-att'),
    })
    await expectNothingElse(lab, [one, three, elsewhere])
    expect(await collect([])).toMatchObject({ ok: true })
    await expectNothingElse(lab, [elsewhere])
    expect(await collect([])).toMatchObject({ ok: true })
    await Promise.all([one, two, three, four, elsewhere].map((sandbox) => sandbox.remove()))
  })
})

describe('each version of the specification', () => {
  const versions = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']
  const isAtLeast = (version: string, minimum: string): boolean =>
    versions.indexOf(version) >= versions.indexOf(minimum)

  it.each(versions)('%s gets a result of its own format, and its own verbs', async (cniVersion) => {
    const request = { configuration: { cniVersion } }
    const sandbox = await Sandbox.make(lab, 'n1', { network: 'blue', request })
    const outcome = await lab.cni('n1', 'ADD', { ...sandbox.request, ...request })
    expect(outcome).toMatchObject({ ok: true, result: { cniVersion } })
    const { stdout } = await sandbox.exec(['ip', '-json', 'address', 'show', 'dev', 'eth0'])
    const [link] = JSON.parse(stdout) as { address: string; addr_info: { family: string; local: string }[] }[]
    const address = `${link!.addr_info.find(({ family }) => family === 'inet')!.local}/24`
    sandbox.result = (outcome as { result: Sandbox['result'] }).result
    expect(sandbox.result).toEqual(expectedResult(cniVersion, address, link!.address, sandbox))
    const answers = async (verb: CniCommand, changes: CniRequest = {}): Promise<number> => {
      const answer = await lab.cni('n1', verb, { ...sandbox.request, prevResult: sandbox.result, ...changes })
      return answer.ok ? 0 : answer.error.code
    }
    const list = { 'cni.dev/valid-attachments': [{ containerID: sandbox.id, ifname: 'eth0' }] }
    const verbs = {
      CHECK: await answers('CHECK'),
      STATUS: await answers('STATUS'),
      GC: await answers('GC', { configuration: { cniVersion, ...list } }),
      DEL: await answers('DEL'),
    }
    expect(verbs, 'code 1 for a verb that the version does not have').toEqual({
      CHECK: isAtLeast(cniVersion, '0.4.0') ? 0 : 1,
      STATUS: isAtLeast(cniVersion, '1.1.0') ? 0 : 1,
      GC: isAtLeast(cniVersion, '1.1.0') ? 0 : 1,
      DEL: 0,
    })
    await sandbox.remove()
  })

  function expectedResult(cniVersion: string, address: string, mac: string, { request, id }: Sandbox): object {
    const gateway = '10.30.0.1'
    if (!isAtLeast(cniVersion, '0.3.0')) {
      return { cniVersion, dns: {}, ip4: { ip: address, gateway, routes: [{ dst: '0.0.0.0/0', gw: gateway }] } }
    }
    const mtu = isAtLeast(cniVersion, '1.1.0') ? { mtu: 1496 } : {}
    const family = isAtLeast(cniVersion, '1.0.0') ? {} : { version: '4' }
    expect(request.netns).toContain(id)
    return {
      cniVersion,
      interfaces: [
        { name: expect.stringMatching(/^cbn\d+$/), ...mtu },
        { name: 'eth0', mac, sandbox: request.netns, ...mtu },
      ],
      ips: [{ ...family, address, gateway, interface: 1 }],
      routes: [{ dst: '0.0.0.0/0', gw: gateway }],
      dns: {},
    }
  }

  it('is named by VERSION, with the agent and without it', async () => {
    const expected = { ok: true, result: { cniVersion: '1.1.0', supportedVersions: versions } }
    const ask = (): ReturnType<Lab['cni']> => lab.cni('n2', 'VERSION', { rawInput: '{"cniVersion":"1.1.0"}' })
    expect(await ask()).toEqual(expected)
    await lab.killAgent('n2')
    expect(await ask()).toEqual(expected)
    await lab.startAgent('n2')
  })
})

describe('CHECK', () => {
  const onNode = (sandbox: Sandbox, ...command: string[]): Promise<unknown> => lab.nodeExec(sandbox.node, command)
  const inside = (sandbox: Sandbox, ...command: string[]): Promise<unknown> => sandbox.exec(command)
  const slotOf = ({ hostInterface }: Sandbox): number => Number(hostInterface.slice(3))
  const forwardingKey = ({ mac }: Sandbox): string[] => [...mac.split(':'), '64', '00']
  const map = '/sys/fs/bpf/carbonado/maps/forwarding'

  /** What is done by hand, and what CHECK must say about it. */
  const damages: [string, (sandbox: Sandbox) => Promise<unknown>, RegExp][] = [
    ['the address was removed inside', (it) => inside(it, 'ip', 'address', 'flush', 'dev', 'eth0'), /lacks 10\.30\.0/],
    ['the interface was taken down inside', (it) => inside(it, 'ip', 'link', 'set', 'eth0', 'down'), /eth0 is down/],
    ['the interface was renamed inside', async (it) => {
      await inside(it, 'ip', 'link', 'set', 'eth0', 'down')
      await inside(it, 'ip', 'link', 'set', 'eth0', 'name', 'eth9')
    }, /eth0 is not in/],
    ['the MAC was changed inside', (it) => inside(it, 'ip', 'link', 'set', 'eth0', 'address', '02:00:00:00:00:99'), /MAC/],
    ['the interface was deleted', (it) => onNode(it, 'ip', 'link', 'del', it.hostInterface), /eth0 is not in/],
    ['the program was taken off', (it) => onNode(it, 'tc', 'filter', 'del', 'dev', it.hostInterface, 'ingress'), /no program/],
    ['the traffic class was removed', (it) => onNode(it, 'tc', 'class', 'del', 'dev', 'eth0', 'classid', `1:${slotOf(it).toString(16)}`), /no traffic class/],
    ['the forwarding entry was removed', (it) => onNode(it, 'bpftool', 'map', 'delete', 'pinned', map, 'key', 'hex', ...forwardingKey(it)), /do not reach/],
  ] // prettier-ignore

  it.each(damages)('finds that %s; a new ADD after DEL is whole again', async (_what, damage, message) => {
    const sandbox = await Sandbox.attached(lab, 'n1', { network: 'blue', perfTier: 'medium' })
    expect(await sandbox.check()).toMatchObject({ ok: true })
    await damage(sandbox)
    let outcome = await sandbox.check()
    for (let attempt = 0; outcome.ok && attempt < 5; attempt++) {
      await damage(sandbox) // the agent was faster and had repaired it
      outcome = await sandbox.check()
    }
    const error = refusal(outcome)
    expect(error, describeError(error)).toMatchObject({ code: 110, msg: expect.stringMatching(message) })
    expect(await sandbox.del(), 'DEL must succeed whatever is damaged').toMatchObject({ ok: true })
    await lab.removeNetns('n1', sandbox.id)
    await lab.createNetns('n1', sandbox.id)
    expect(await sandbox.add()).toMatchObject({ ok: true })
    expect(await sandbox.check()).toMatchObject({ ok: true })
    await sandbox.remove()
    await expectNothingElse(lab, [])
  })

  it('refuses what the runtime remembers otherwise', async () => {
    const sandbox = await Sandbox.attached(lab, 'n1', { network: 'blue' })
    const { result } = sandbox
    const moved = { ...result, ips: [{ address: '10.30.0.99/24', interface: 1 }] }
    expect(refusal(await sandbox.check({ prevResult: moved }))).toMatchObject({ code: 110 })
    expect(refusal(await sandbox.check({ prevResult: undefined }))).toMatchObject({ code: 7 })
    expect(refusal(await sandbox.check({ netns: '/run/netns/elsewhere' }))).toMatchObject({ code: 110 })
    await sandbox.remove()
  })
})

describe('an endpoint object that somebody deletes while its container runs', () => {
  it('goes with its datapath, and the runtime can still send DEL', async () => {
    const sandbox = await Sandbox.attached(lab, 'n1', { network: 'blue' })
    const { items } = await lab.store.list(Endpoint)
    expect(items.map(({ spec }) => spec.holder?.containerId)).toEqual([sandbox.id])
    await lab.dctl(['endpoint', 'delete', items[0]!.metadata.name, '-f'])
    await expectNothingElse(lab, [])
    expect(refusal(await sandbox.check())).toMatchObject({ code: 3 })
    await sandbox.remove()
  })
})
