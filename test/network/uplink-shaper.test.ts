import { afterAll, beforeAll, expect, it } from 'vitest'
import { changeLink, NetlinkSocket } from '../../src/network/netlink/index.ts'
import { findClasses, UplinkShaper } from '../../src/network/soft-vf/uplink-shaper.ts'
import { enterOwnNamespaces, run } from '../support/own-namespaces.ts'

let socket: NetlinkSocket
let index: number
let told: boolean[]
let shaper: UplinkShaper

beforeAll(async () => {
  enterOwnNamespaces()
  run('ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'switch')
  index = (JSON.parse(run('ip', '-j', 'link', 'show', 'eth0')) as [{ ifindex: number }])[0].ifindex
  socket = NetlinkSocket.open()
  told = []
  shaper = new UplinkShaper(socket, { name: 'eth0', index }, { linkRate: 1e9, reserves: [] }, (is) => told.push(is))
  await shaper.start([])
})
afterAll(() => socket.close())

const slots = (): number[] => findClasses(socket, index).map(({ minor }) => minor)

it('an endpoint that fails does not take along the classes of one with a floor that came at the same moment', async () => {
  const gone = changeLink('gone', 4711, { isUp: true })
  const failing = shaper.shape(1, { bandwidthFloor: 100e6 }, [gone])
  const staying = shaper.shape(2, { bandwidthFloor: 200e6 })
  await expect(failing).rejects.toThrow()
  await staying
  expect(shaper.isShaped).toBe(true)
  expect(slots()).toContain(2)
  expect(told.at(-1)).toBe(true)
  expect(shaper.findDamage()).toEqual([])
  await shaper.remove([1, 2])
  expect([shaper.isShaped, slots()]).toEqual([false, []])
})

it('one that fails alone leaves nothing', async () => {
  await expect(shaper.shape(1, { bandwidthFloor: 100e6 }, [changeLink('gone', 4711, { isUp: true })])).rejects.toThrow()
  expect([shaper.isShaped, slots(), told.at(-1)]).toEqual([false, [], false])
  expect(shaper.findDamage()).toEqual([])
})
