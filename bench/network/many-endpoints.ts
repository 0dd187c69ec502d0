import type { Group, Measurement, RunContext } from '../suite.ts'
import { eachOf } from './each-of.ts'
import { excess, takeInventory, waitForNothing } from './endpoint-inventory.ts'
import { createNetwork } from './fresh-lab.ts'
import { asAnnotations, type Attachment, type Runtime } from './runtime.ts'
import type { UnlimitedLab } from './unlimited-lab.ts'

const rows = {
  time: { name: '1000 endpoints, time', unit: 's' },
  duplicates: { name: '1000 endpoints, duplicates', unit: 'addresses', target: { exactly: 0 } },
  leaks: { name: '1000 endpoints, leaks after deletion', unit: 'objects', target: { exactly: 0 } },
}
const network = 'thousand'
const concurrency = 50

/** 1000 endpoints on three nodes, 50 at a time, and away again. */
export const manyEndpointsGroup: Group<UnlimitedLab> = {
  rows: Object.values(rows),
  async measure({ lab, carbonado }, _wanted, context) {
    const total = context.quick ? 150 : 1000
    await createNetwork(lab, network, 120)
    const before = await takeInventory(lab)
    const jobs = Array.from({ length: total }, (_, index) => ({
      containerId: `many-${index}`,
      runtime: carbonado[index % 3]!,
    }))
    context.progress(`${total} network namespaces`)
    await eachOf(jobs, 8, ({ runtime, containerId }) => runtime.prepare(containerId))
    const added = await addAll(jobs, context)
    const present = excess(before, await takeInventory(lab))
    context.progress(`attached: ${present.text}`)
    const removed = await removeAll(added.attachments, context)
    const leaks = await waitForNothing(before, () => takeInventory(lab))
    await eachOf(jobs, 8, ({ runtime, containerId }) => runtime.release(containerId))
    return {
      [rows.time.name]: time(total, added.seconds, removed),
      [rows.duplicates.name]: duplicates(added.attachments.map(([, attachment]) => attachment)),
      [rows.leaks.name]: leaks,
    }
  },
}

interface Job {
  containerId: string
  runtime: Runtime
}

type Attached = [Runtime, Attachment]

async function addAll(jobs: Job[], { progress }: RunContext): Promise<{ attachments: Attached[]; seconds: number }> {
  progress(`ADD, ${concurrency} at a time`)
  const attachments: Attached[] = []
  const begin = performance.now()
  await eachOf(jobs, concurrency, async ({ runtime, containerId }) => {
    attachments.push([runtime, await runtime.add(containerId, asAnnotations({ network }))])
  })
  return { attachments, seconds: (performance.now() - begin) / 1000 }
}

async function removeAll(attachments: Attached[], { progress }: RunContext): Promise<number> {
  progress(`DEL, ${concurrency} at a time`)
  const begin = performance.now()
  await eachOf(attachments, concurrency, async ([runtime, attachment]) => {
    await runtime.remove(attachment)
  })
  return (performance.now() - begin) / 1000
}

function time(total: number, added: number, removed: number): Measurement {
  return { value: added, detail: `${total} on 3 nodes, ${concurrency} at a time; DEL ${removed.toFixed(1)} s` }
}

function duplicates(attachments: Attachment[]): Measurement {
  const repeated = (values: string[]): number => values.length - new Set(values).size
  const addresses = repeated(attachments.map(({ address }) => address))
  const macs = repeated(attachments.map(({ mac }) => mac))
  const missing = attachments.filter(({ address, mac }) => address === '' || mac === '').length
  const detail = `${attachments.length} endpoints: IP ${addresses}, MAC ${macs} twice; ${missing} without`
  return { value: addresses + macs + missing, detail }
}
