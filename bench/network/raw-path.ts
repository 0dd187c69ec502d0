import { compareRounds, median } from '../statistics.ts'
import type { Group, Measurement, Row, RunContext } from '../suite.ts'
import { measureFlow, startServer, type Flow, type Path } from './flows.ts'
import { asAnnotations, type Attachment, type Runtime } from './runtime.ts'
import { bareEnds, promisedTiers, rawNetwork, requireStandardPlugins, type UnlimitedLab } from './unlimited-lab.ts'

type Topology = 'same' | 'across'
type Contender = 'bare' | 'bridge' | 'carbonado' | 'promised'

interface Question {
  row: Row
  topology: Topology
  flow: Flow
  ours: Contender
  theirs: Contender
}

const topologies: Record<Topology, string> = { same: 'same node', across: 'across nodes' }
const flows: Record<Flow, string> = { throughput: 'TCP throughput', 'request-response': 'TCP request-response' }
const bareNames: Record<Topology, string> = {
  same: 'two namespaces, bare veth',
  across: 'bare veths, same switch',
}

/** Each of the four paths against a bare veth, against the bridge plugin, and with floor and cap. */
const questions: Question[] = [
  ...paths((name, topology) => [name, 'carbonado', 'bare', 0.95, bareNames[topology]]),
  ...paths((name) => [`${name}, against bridge`, 'carbonado', 'bridge', 1, 'bridge CNI plugin']),
  ...paths((name, topology) => [`${name}, floor and cap`, 'promised', 'bare', 0.85, bareNames[topology]]),
]

/** Throughput and request-response on one node and across nodes. */
export const rawPathGroup: Group<UnlimitedLab> = {
  rows: questions.map(({ row }) => row),
  async measure(place, wanted, context) {
    const measurements: Record<string, Measurement> = {}
    const missing = reasonAgainstBridge()
    const asked = questions.filter(({ row, theirs }) => {
      if (!wanted.has(row.name)) return false
      if (theirs !== 'bridge' || missing === undefined) return true
      measurements[row.name] = { reason: missing }
      return false
    })
    for (const topology of ['same', 'across'] as const) {
      for (const flow of ['throughput', 'request-response'] as const) {
        const here = asked.filter((question) => question.topology === topology && question.flow === flow)
        if (here.length > 0) Object.assign(measurements, await answer(place, here, context))
      }
    }
    return measurements
  },
}

function paths(
  describe: (name: string, topology: Topology) => [string, Contender, Contender, number, string],
): Question[] {
  return (['same', 'across'] as const).flatMap((topology) =>
    (['throughput', 'request-response'] as const).map((flow) => {
      const [name, ours, theirs, atLeast, comparedWith] = describe(`${flows[flow]}, ${topologies[topology]}`, topology)
      return { row: { name, unit: 'ratio', comparedWith, target: { atLeast } }, topology, flow, ours, theirs }
    }),
  )
}

/** Questions of one topology and flow: all contenders in the same rounds, next to each other. */
async function answer(
  place: UnlimitedLab,
  asked: Question[],
  context: RunContext,
): Promise<Record<string, Measurement>> {
  const { topology, flow } = asked[0]!
  const contenders = [...new Set(asked.flatMap(({ ours, theirs }) => [theirs, ours]))]
  context.progress(`${flows[flow]}, ${topologies[topology]}: ${contenders.join(', ')}`)
  const ways = await Promise.all(contenders.map((contender) => openPath(place, contender, topology)))
  const servers = await Promise.all(ways.map((way) => startServer(flow, way.path)))
  try {
    const results = await measureRounds(flow, ways, context)
    const of = (contender: Contender): number[] => results[contenders.indexOf(contender)]!
    return Object.fromEntries(
      asked.map(({ row, ours, theirs }) => [row.name, compared(flow, of(ours), of(theirs), ours)]),
    )
  } finally {
    for (const end of servers) await end()
    for (const way of ways) await way.close()
  }
}

/** Every round measures each path once; which comes first changes from round to round. Many short ones, decision 0143. */
async function measureRounds(flow: Flow, ways: Way[], { quick, progress }: RunContext): Promise<number[][]> {
  const [rounds, seconds] = quick ? [3, 1] : [18, 1]
  for (const { path } of ways) await measureFlow(flow, path, 2)
  const results = ways.map((): number[] => [])
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < ways.length; turn++) {
      const index = (round + turn) % ways.length
      results[index]!.push(await measureFlow(flow, ways[index]!.path, seconds))
    }
    progress(`  round ${round + 1} of ${rounds}: ${results.map((values) => absolute(flow, values.at(-1)!)).join(', ')}`)
  }
  return results
}

function compared(flow: Flow, ours: number[], theirs: number[], contender: Contender): Measurement {
  const { median: value, lowest, highest } = compareRounds(ours, theirs)
  const range = `${lowest.toFixed(3)}..${highest.toFixed(3)} in ${ours.length} rounds`
  const fastest = Math.max(...ours)
  if (contender === 'promised' && flow === 'throughput' && fastest > promisedTiers.client.floor) {
    return { reason: `the flow of ${absolute(flow, fastest)} was above the floor; the row needs a higher floor` }
  }
  return { value, detail: `${range}; ${absolute(flow, median(ours))} to ${absolute(flow, median(theirs))}` }
}

function absolute(flow: Flow, value: number): string {
  return flow === 'throughput' ? `${(value / 1e9).toFixed(2)} Gbit/s` : `${(value / 1e3).toFixed(2)} k/s`
}

interface Way {
  path: Path
  close(): Promise<void>
}

let opened = 0

async function openPath(place: UnlimitedLab, contender: Contender, topology: Topology): Promise<Way> {
  if (contender === 'bare') {
    const [client, server] = bareEnds[topology]
    return {
      path: { client: client.netns, server: server.netns, serverAddress: server.address },
      close: async () => {},
    }
  }
  const runtimes = {
    bridge: place.bridge,
    carbonado: place.carbonado.slice(0, 2),
    promised: place.carbonado.slice(2),
  }[contender]
  const ends: [Runtime, Attachment][] = []
  for (const role of ['client', 'server'] as const) {
    const runtime = runtimes[role === 'server' && topology === 'across' ? 1 : 0]!
    ends.push([runtime, await runtime.attach(`${contender}-${++opened}`, knownTo(contender, role))])
  }
  const [client, server] = ends.map(([, attachment]) => attachment) as [Attachment, Attachment]
  return {
    path: { client: client.netns, server: server.netns, serverAddress: server.address },
    close: async () => {
      for (const [runtime, attachment] of ends) await runtime.detach(attachment)
    },
  }
}

function knownTo(contender: Contender, role: 'client' | 'server'): Record<string, unknown> {
  if (contender === 'bridge') return {}
  return asAnnotations({
    network: rawNetwork,
    perfTier: contender === 'promised' ? promisedTiers[role].name : undefined,
  })
}

function reasonAgainstBridge(): string | undefined {
  try {
    requireStandardPlugins()
    return undefined
  } catch (error) {
    return `could not run: ${(error as Error).message}`
  }
}
