import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { FoundUplink, Node } from '../api/index.ts'
import { silentLogger } from '../base/index.ts'
import { eventually } from '../network/attachments/test-node.ts'
import type { FileTree } from '../network/uplinks/index.ts'
import { UplinkMonitor } from './uplink-monitor.ts'

const spec: Node['spec'] = { uplinks: { pods: { interface: 'eth0', rate: '10G' } }, maximumInterfaces: 10 }

let files: Record<string, string>
/** Asked first what a file says. */
let onRead: ((path: string) => string | undefined) | undefined
const read = (path: string): string | undefined => onRead?.(path) ?? files[path.replace('/sys/class/net/eth0/', '')]
const tree: FileTree = {
  read,
  readLater: (path) => Promise.resolve(read(path)),
  list: (path) => (path === '/sys/class/net/eth0' ? [...Object.keys(files), 'device'] : []),
}

let told: FoundUplink[][]
let monitor: UplinkMonitor
let refusals: number

beforeEach(() => {
  files = { ifindex: '2', operstate: 'up', carrier: '1', carrier_changes: '2', mtu: '1500', speed: '10000' }
  told = []
  refusals = 0
  monitor = new UplinkMonitor({
    spec,
    tree,
    interval: 5,
    logger: silentLogger(),
    onChange: (found) => {
      told.push(found)
      return refusals-- > 0 ? Promise.reject(new Error('not now')) : Promise.resolve()
    },
  })
  monitor.start()
})
afterEach(() => monitor.stop())

const last = (): FoundUplink | undefined => told.at(-1)?.[0]

describe('the uplink monitor', () => {
  it('knows the uplinks from the beginning and says nothing while they stay', async () => {
    expect(monitor.found).toMatchObject([{ plane: 'pods', linkRate: 10e9, carrier: true }])
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(told).toEqual([])
  })

  it('tells of carrier, MTU, speed, and of a device that was made anew', async () => {
    Object.assign(files, { carrier: '0', operstate: 'down', carrier_changes: '3' })
    await eventually(() => last()?.carrier === false)
    expect(last()).toMatchObject({ linkRate: 0 })
    Object.assign(files, { carrier: '1', operstate: 'up', carrier_changes: '4' })
    await eventually(() => last()?.carrier === true)
    files.mtu = '9000'
    await eventually(() => last()?.mtu === 9000)
    files.speed = '1000'
    await eventually(() => last()?.linkRate === 1e9)
    expect(told).toHaveLength(4)
    files.ifindex = '7'
    await eventually(() => told.length === 5)
  })

  it('tells of what changes while it looks', async () => {
    await new Promise((resolve) => setTimeout(resolve, 100)) // the first look at speeds is over, after which it looks at all
    onRead = (path) => {
      if (!path.endsWith('/carrier')) return undefined
      onRead = undefined
      const before = files.carrier
      Object.assign(files, { carrier: '0', operstate: 'down', carrier_changes: '5' })
      return before
    }
    files.mtu = '9000'
    await eventually(() => last()?.mtu === 9000)
    await eventually(() => last()?.carrier === false)
  })

  it('follows another spec at once, also when only what is kept for planes differs', async () => {
    monitor.follow({ ...spec, uplinks: { pods: { interface: 'eth0', rate: '1G' } } })
    await eventually(() => last()?.linkRate === 1e9)
    const management = { interface: 'eth0', vlan: 20, rate: '100M' }
    monitor.follow({ ...spec, uplinks: { pods: { interface: 'eth0', rate: '1G' }, management } })
    await eventually(() => told.length === 2)
    monitor.follow({
      ...spec,
      uplinks: { pods: { interface: 'eth0', rate: '1G' }, management: { ...management, rate: '200M' } },
    })
    await eventually(() => told.length === 3)
  })

  it('tries again what could not be taken over', async () => {
    refusals = 2
    files.mtu = '9000'
    await eventually(() => told.length === 3)
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(told.map(([pods]) => pods!.mtu)).toEqual([9000, 9000, 9000])
  })
})
