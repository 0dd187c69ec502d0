import { findContainer, type Container, type Lab } from '../../lab/index.ts'
import type { Group, RunContext } from '../suite.ts'
import { eachOf } from './each-of.ts'
import { takeInventory, waitForNothing } from './endpoint-inventory.ts'
import { createNetwork } from './fresh-lab.ts'
import type { UnlimitedLab } from './unlimited-lab.ts'

const rows = {
  time: { name: '1000 running containers, time', unit: 's' },
  silent: { name: '1000 running containers, without an answer', unit: 'containers', target: { exactly: 0 } },
  leaks: { name: '1000 running containers, leaks after deletion', unit: 'objects', target: { exactly: 0 } },
}
const network = 'running'
/** What a node's kubelet starts at a time is of this order; more would only wait for the processors. */
const concurrency = 24

/** 1000 runc containers with a process each on three nodes: network namespace, ADD, container, process. */
export const runningContainersGroup: Group<UnlimitedLab> = {
  rows: Object.values(rows),
  async measure({ lab }, _wanted, context) {
    const total = context.quick ? 30 : 1000
    await createNetwork(lab, network, 121)
    const before = await takeInventory(lab)
    const names = Array.from({ length: total }, (_, index) => `running-${index}`)
    try {
      const seconds = await startAll(lab, names, context)
      const silent = await findSilent(names, context)
      const removed = await removeAll(names, context)
      return {
        [rows.time.name]: { value: seconds, detail: `${total} on 3 nodes, ${concurrency} at a time; removal ${removed.toFixed(1)} s` },
        [rows.silent.name]: { value: silent.length, detail: `of ${total}, asked by ping from another node` },
        [rows.leaks.name]: await waitForNothing(before, () => takeInventory(lab)),
      }
    } finally {
      await eachOf(names, concurrency, async (name) => find(name)?.kill())
    }
  },
} // prettier-ignore

async function startAll(lab: Lab, names: string[], { progress }: RunContext): Promise<number> {
  progress(`${names.length} containers, ${concurrency} at a time`)
  const begin = performance.now()
  let running = 0
  await eachOf(names, concurrency, async (name) => {
    const node = lab.nodes[Number(name.split('-')[1]) % 3]!
    const container = await lab.startContainer({ node, name, network })
    if (!container.isRunning) throw new Error(`${name} does not run`)
    if (++running % 100 === 0) progress(`  ${running} run, ${((performance.now() - begin) / 1000).toFixed(1)} s`)
  })
  return (performance.now() - begin) / 1000
}

/**
 * Names of those that do not answer to a container of the next node. Those that did not, while many were asked at once, are
 * asked again one after the other: a lost packet is no container without a network.
 */
async function findSilent(names: string[], { progress }: RunContext): Promise<string[]> {
  progress('each is asked by another')
  const silentAtFirst = await silentOf(names, names, 8)
  if (silentAtFirst.length > 0) progress(`  again: ${silentAtFirst.join(', ')}`)
  return silentOf(silentAtFirst, names, 1)
}

async function silentOf(asked: string[], names: string[], width: number): Promise<string[]> {
  const silent: string[] = []
  await eachOf(asked, width, async (name) => {
    const asker = find(names[(names.indexOf(name) + 1) % names.length]!)!
    const target = find(name)!
    const answer = await asker
      .execInNetns(['ping', '-q', '-c', '3', '-i', '0.2', '-W', '2', target.address])
      .catch(() => undefined)
    if (!answer || !target.isRunning) silent.push(name)
  })
  return silent
}

async function removeAll(names: string[], { progress }: RunContext): Promise<number> {
  progress('and away again')
  const begin = performance.now()
  await eachOf(names, concurrency, async (name) => find(name)?.kill())
  return (performance.now() - begin) / 1000
}

function find(name: string): Container | undefined {
  try {
    return findContainer(name)
  } catch {
    return undefined
  }
}
