import './own-lab.ts'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import {
  applyObjects,
  installCarbonado,
  installDns,
  installEndToEndSuite,
  makeApiServerGateway,
  runEndToEndCases,
} from '../../lab/kubernetes/index.ts'

const nodes = ['n1', 'n2', 'n3']

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ kubernetes: true, rate: null })
  await installCarbonado({ 'agent.hostPorts': true })
  const subnets = [{ cidr: '10.30.0.0/24', gateway: '10.30.0.1' }]
  const spec = { subnets, vlan: 100, isDefault: true }
  await applyObjects([{ apiVersion: 'carbonado.io/v1alpha1', kind: 'Network', metadata: { name: 'blue' }, spec }])
  await makeApiServerGateway(100, '10.30.0.1/24')
  await Promise.all([installDns(nodes), installEndToEndSuite(nodes)])
})
afterAll(() => lab?.down())

/** Names of cases that did not pass, as ginkgo sums them up. */
function failures(output: string): string[] {
  const lines = output.matchAll(/^ *\[(?:FAIL|TIMEDOUT|INTERRUPTED|PANICKED)\] (.*)$/gm)
  return [...new Set([...lines].map((match) => match[1]!))]
}

describe("Kubernetes' own conformance cases of sig-network", () => {
  // docs/conformance.md lists them; none is left out
  test('pass', async () => {
    const { stdout, stderr } = await runEndToEndCases({
      focus: ['\\[sig-network\\].*\\[Conformance\\]'],
      skip: [],
      processes: 10,
      deadline: 560_000,
    })
    expect(failures(stdout), stderr.slice(-2000)).toEqual([])
    expect(Number(/(\d+) Passed/.exec(stdout)?.[1])).toBeGreaterThanOrEqual(47)
  })
})
