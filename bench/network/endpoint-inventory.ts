import { setTimeout as sleep } from 'node:timers/promises'
import { AddressClaim, Endpoint, MacClaim } from '../../src/api/index.ts'
import type { Lab } from '../../lab/index.ts'
import type { Measurement } from '../suite.ts'

/** Milliseconds after the last removal by which everything must have gone. */
const patience = 60_000

/** How much there is of everything that an endpoint has, in the store and in the kernels of the nodes. */
export type Inventory = Record<'endpoints' | 'addressClaims' | 'macClaims' | 'interfaces' | 'classes', number>

/** Counts it. */
export async function takeInventory(lab: Lab): Promise<Inventory> {
  const [endpoints, addressClaims, macClaims, ...nodes] = await Promise.all([
    lab.store.list(Endpoint),
    lab.store.list(AddressClaim),
    lab.store.list(MacClaim),
    ...lab.nodes.map((node) => countInKernel(lab, node)),
  ])
  return {
    endpoints: endpoints.items.length,
    addressClaims: addressClaims.items.length,
    macClaims: macClaims.items.length,
    interfaces: nodes.reduce((sum, { interfaces }) => sum + interfaces, 0),
    classes: nodes.reduce((sum, { classes }) => sum + classes, 0),
  }
}

/** What `now` has more than `before`, as `3 interfaces`; empty when nothing. */
export function excess(before: Inventory, now: Inventory): { count: number; text: string } {
  const more = Object.entries(now).map(([what, count]) => [what, count - before[what as keyof Inventory]] as const)
  const left = more.filter(([, count]) => count > 0)
  return {
    count: left.reduce((sum, [, count]) => sum + count, 0),
    text: left.map(([what, count]) => `${count} ${what}`).join(', '),
  }
}

/** What is there more than before; given time, because DEL answers when the datapath is gone, not the last object. */
export async function waitForNothing(before: Inventory, look: () => Promise<Inventory>): Promise<Measurement> {
  const begin = performance.now()
  for (;;) {
    const { count, text } = excess(before, await look())
    const waited = performance.now() - begin
    if (count === 0) return { value: 0, detail: `none ${(waited / 1000).toFixed(1)} s after the last removal` }
    if (waited > patience) return { value: count, detail: `${text}, ${patience / 1000} s after the last removal` }
    await sleep(500)
  }
}

async function countInKernel(lab: Lab, node: string): Promise<{ interfaces: number; classes: number }> {
  const { stdout: links } = await lab.nodeExec(node, ['ip', '-oneline', 'link', 'show'])
  const { stdout: classes } = await lab.nodeExec(node, ['tc', 'class', 'show', 'dev', 'eth0'])
  return { interfaces: count(links, /^\d+: cbn\d+@/gm), classes: count(classes, /^class htb/gm) }
}

function count(text: string, pattern: RegExp): number {
  return [...text.matchAll(pattern)].length
}
