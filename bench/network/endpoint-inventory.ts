import { AddressClaim, Endpoint, MacClaim } from '../../src/api/index.ts'
import type { Lab } from '../../lab/index.ts'

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

async function countInKernel(lab: Lab, node: string): Promise<{ interfaces: number; classes: number }> {
  const { stdout: links } = await lab.nodeExec(node, ['ip', '-oneline', 'link', 'show'])
  const { stdout: classes } = await lab.nodeExec(node, ['tc', 'class', 'show', 'dev', 'eth0'])
  return { interfaces: count(links, /^\d+: cbn\d+@/gm), classes: count(classes, /^class htb/gm) }
}

function count(text: string, pattern: RegExp): number {
  return [...text.matchAll(pattern)].length
}
