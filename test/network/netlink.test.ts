import { openSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  addAddress,
  addHooks,
  addRoute,
  addVeth,
  changeLink,
  decodeAddress,
  decodeClass,
  decodeLink,
  decodeQueue,
  decodeRoute,
  linkByName,
  listAddresses,
  listClasses,
  listLinks,
  listQueues,
  listRoutes,
  NetlinkSocket,
  putClass,
  putTokenBucket,
  putTree,
  removeClass,
  removeGroup,
  removeRootQueue,
  type NetlinkRequest,
} from '../../src/network/netlink/index.ts'
import { enterOwnNamespaces, run, runIn } from '../support/own-namespaces.ts'

const inside = '/run/netns/inside'
const index = 70_001
let socket: NetlinkSocket

beforeAll(async () => {
  enterOwnNamespaces()
  run('ip', 'netns', 'add', 'inside')
  socket = NetlinkSocket.open()
  await socket.must([pair('near', index, 'far'), changeLink('near', index, { isUp: true })])
})

afterAll(() => socket.close())

function pair(name: string, number: number, peer: string): NetlinkRequest {
  const namespace = openSync(inside, 'r') // closed with the process
  return addVeth({ name, index: number, mtu: 1400, peer: { name: peer, namespace } })
}

const show = <T>(...command: [string, ...string[]]): T => JSON.parse(run(...command)) as T

/** The far end as `ip` inside shows it. */
function farEnd(): { ifname: string; ifindex: number; mtu: number; address: string } {
  const shown = runIn('inside', 'ip', '-json', 'link', 'show', 'far')
  return (JSON.parse(shown) as [ReturnType<typeof farEnd>])[0]
}

describe('links', () => {
  it('are pairs with one end elsewhere, changed as ip shows it', async () => {
    expect(farEnd()).toMatchObject({ ifname: 'far', mtu: 1400 })
    await socket.must([
      changeLink('near', index, { alias: 'who|it|is', mtu: 1300, macAddress: '02:00:00:00:00:99', group: 5 }),
    ])
    const [near] = show<[object]>('ip', '-json', '-details', 'link', 'show', 'near')
    expect(near).toMatchObject({ ifalias: 'who|it|is', mtu: 1300, address: '02:00:00:00:00:99', group: '5' })
    const found = decodeLink(socket.get(linkByName('near'))!)
    expect(found).toMatchObject({ index, mtu: 1300, macAddress: '02:00:00:00:00:99', isUp: true, kind: 'veth' })
    expect(socket.dump(listLinks('veth')).map((message) => decodeLink(message)?.name)).toEqual(['near'])
    expect(socket.get(linkByName('nobody'))).toBeUndefined()
  })

  it('go together by their group', async () => {
    await socket.must([pair('one', 70_010, 'x1'), pair('two', 70_011, 'x2')])
    await socket.must([changeLink('one', 70_010, { group: 77 }), changeLink('two', 70_011, { group: 77 }), removeGroup(77)])
    expect(socket.dump(listLinks('veth'))).toHaveLength(1)
  }) // prettier-ignore

  it('that cannot be are refused with what was tried, the reason and the errno, and later requests are carried out', async () => {
    const refused = await socket.change([
      pair('near', 70_020, 'y'),
      changeLink('ghost', 70_099, { isUp: true }),
      changeLink('near', index, { mtu: 1350 }),
    ])
    expect(refused.map(({ error }) => error.errno)).toEqual([17, 19])
    expect(refused[0]!.error.message).toMatch(/^cannot add veth near with y at its other end: EEXIST/)
    expect(decodeLink(socket.get(linkByName('near'))!)?.mtu).toBe(1350)
    await expect(socket.must([changeLink('near', index, { mtu: 1 })])).rejects.toThrow(/mtu less than device minimum/)
  })

  it('that are asked for at once are carried out in their order, and each learns of what was refused of its own', async () => {
    const mtu = (bytes: number): NetlinkRequest => changeLink('near', index, { mtu: bytes })
    const ghost = changeLink('ghost', 70_099, { isUp: true })
    const many = Array.from({ length: 150 }, (_, at) => (at % 60 === 7 ? ghost : mtu(1301 + at)))
    const changes = [[mtu(1300)], [ghost], many, [], [mtu(1), mtu(1320)], many.slice(0, 40), [mtu(1330)], [ghost]]
    const refused = await Promise.all(changes.map((requests) => socket.change(requests)))
    const errnos = refused.map((each) => each.map(({ error }) => error.errno))
    expect(errnos).toEqual([[], [19], [19, 19, 19], [], [22], [19], [], [19]])
    const requests = refused.flatMap((each) => each.map(({ request }) => request))
    expect(requests.filter((each) => each !== ghost)).toEqual([changes[4]![0]])
    expect(decodeLink(socket.get(linkByName('near'))!)?.mtu).toBe(1330)
  })
})

describe('inside a container', () => {
  it('has addresses and routes of both families, made and listed', async () => {
    using within = NetlinkSocket.openIn(inside)
    const far = farEnd().ifindex
    await within.must([
      addAddress({ index: far, address: '10.9.0.2', prefixLength: 24 }),
      addAddress({ index: far, address: 'fd09::2', prefixLength: 64 }),
      changeLink('lo', 1, { isUp: true }),
      changeLink('far', far, { isUp: true }),
      addRoute({ index: far, gateway: '10.9.0.1' }),
      addRoute({ index: far, gateway: 'fd09::1', metric: 50 }),
      addRoute({ index: far, destination: { address: '10.99.0.0', prefixLength: 16 }, gateway: '10.9.0.1', table: 100 }),
    ])
    expect(runIn('inside', 'ip', 'route', 'show', 'default')).toMatch(/default via 10.9.0.1 dev far/)
    expect(runIn('inside', 'ip', '-6', 'route', 'show', 'default')).toMatch(/default via fd09::1 dev far metric 50/)
    expect(runIn('inside', 'ip', 'route', 'show', 'table', '100')).toMatch(/10.99.0.0\/16 via 10.9.0.1/)
    expect(runIn('inside', 'ip', '-6', 'address', 'show', 'far')).toMatch(/fd09::2\/64 scope global nodad/)
    expect(within.dump(listAddresses(far)).map(decodeAddress)).toEqual(
      expect.arrayContaining([
        { index: far, address: '10.9.0.2', prefixLength: 24 },
        { index: far, address: 'fd09::2', prefixLength: 64 },
      ]),
    )
    const routes = within.dump(listRoutes(2)).map(decodeRoute)
    expect(routes).toContainEqual({ family: 2, index: far, table: 254, gateway: '10.9.0.1' })
    await expect(within.must([addRoute({ index: far, gateway: '10.9.0.1' })])).rejects.toMatchObject({ errno: 17 })
  }) // prettier-ignore

  it('leaves this process where it was, also when the path is no namespace', () => {
    const before = run('readlink', '/proc/self/ns/net')
    expect(() => NetlinkSocket.openIn('/etc/hostname')).toThrow(/cannot enter the network namespace/)
    expect(() => NetlinkSocket.openIn('/run/netns/nobody')).toThrow(/does not exist/)
    expect(run('readlink', '/proc/self/ns/net')).toBe(before)
  })

  it('is not kept alive by sockets that were closed', () => {
    run('ip', 'netns', 'add', 'brief')
    run('ip', 'link', 'add', 'stub', 'type', 'veth', 'peer', 'name', 'in', 'netns', 'brief')
    NetlinkSocket.openIn('/run/netns/brief').close()
    run('ip', 'netns', 'del', 'brief')
    return expect.poll(() => socket.get(linkByName('stub'))).toBeUndefined()
  })
})

describe('traffic control', () => {
  it('makes token buckets as tc shows them, also beyond 32 bits of rate', async () => {
    await socket.must([putTokenBucket('near', index, { rate: 50e6, burst: 131_072, limit: 400_000 })])
    expect(run('tc', 'qdisc', 'show', 'dev', 'near')).toMatch(/tbf .* rate 50Mbit burst 128Kb lat \S+/)
    await socket.must([putTokenBucket('near', index, { rate: 80e9, burst: 100_000_000, limit: 400_000_000 })])
    expect(run('tc', 'qdisc', 'show', 'dev', 'near')).toMatch(/rate 80Gbit/)
    const queue = socket.dump(listQueues()).map(decodeQueue).find((each) => each?.index === index && each.kind === 'tbf')
    expect(queue?.rate).toBe(80e9)
    await socket.must([removeRootQueue('near', index)])
    expect(run('tc', 'qdisc', 'show', 'dev', 'near')).not.toMatch(/tbf/)
  }) // prettier-ignore

  it('makes and removes classes as tc shows them', async () => {
    const common = { burst: 70_000, ceilBurst: 1_250_000, priority: 1, quantum: 60_000 }
    await socket.must([
      putTree('near', index, 0xfffe),
      putClass('near', index, { minor: 0xffff, rate: 10e9, ceil: 10e9, ...common, priority: 0 }),
      putClass('near', index, { minor: 7, parent: 0xffff, rate: 64_000, ceil: 80e9, ...common }),
    ])
    const shown = run('tc', 'class', 'show', 'dev', 'near')
    expect(shown).toMatch(/class htb 1:ffff root rate 10Gbit ceil 10Gbit/)
    expect(shown).toMatch(/class htb 1:7 parent 1:ffff .*prio 1 rate 64Kbit ceil 80Gbit burst 70000b cburst 1250000b/)
    const classes = socket.dump(listClasses(index)).map(decodeClass)
    expect(classes).toContainEqual({ minor: 7, rate: 64_000, ceil: 80e9, priority: 1 })
    await socket.must([removeClass('near', index, 7), removeRootQueue('near', index)])
    expect(socket.dump(listClasses(index))).toEqual([])
  })

  it('is announced to those who listen', async () => {
    using listener = NetlinkSocket.open()
    listener.listen([4]) // RTNLGRP_TC
    expect(listener.announcements()).toEqual({ messages: [], overrun: false })
    await socket.must([addHooks('near', index)])
    expect(listener.announcements().messages.map((message) => decodeQueue(message)?.kind)).toContain('clsact')
    expect(listener.announcements().messages).toEqual([])
  })
})

it('answers queries right while a long change is under way', async () => {
  const many = Array.from({ length: 200 }, (_, at) => changeLink('near', index, { mtu: 1300 + (at % 2) }))
  const change = socket.change(many)
  for (let round = 0; round < 50; round++) {
    expect(decodeLink(socket.get(linkByName('near'))!)?.name).toBe('near')
    await new Promise(setImmediate)
  }
  expect(await change).toEqual([])
})
