import { afterAll, beforeAll, expect, test } from 'vitest'
import { attachmentFinalizer, Endpoint, Network, Node, PerfTier } from '../../../src/api/index.ts'
import { silentLogger } from '../../../src/base/index.ts'
import { startControl, type Control } from '../../../src/control/control.ts'
import { features } from '../../../src/control/features.ts'
import { RestStore } from '../../../src/store/index.ts'
import { makeControlFiles, testTokens, type ControlFiles } from '../../support/control-files.ts'

let files: ControlFiles
let control: Control
let client: RestStore

beforeAll(async () => {
  files = await makeControlFiles()
  control = await startControl(files.config, { logger: silentLogger(), features })
  client = new RestStore({ server: `unix://${files.folder}/control.sock`, token: testTokens.admin })
  await client.create(Node, {
    metadata: { name: 'n1' },
    spec: { uplinks: { pods: { interface: 'eth0', rate: '1G' } }, maximumInterfaces: 1000 },
  })
  await client.create(Network, {
    metadata: { name: 'blue' },
    spec: { subnets: [{ cidr: '10.30.0.0/24', ranges: [] }], vlan: 100, plane: 'pods', isDefault: false },
  })
  await client.create(PerfTier, { metadata: { name: 'gold' }, spec: { networkBandwidth: '2G' } })
})

afterAll(async () => {
  await client.close()
  await control.stop()
  files[Symbol.dispose]()
})

const endpoint = (name: string, spec: Partial<Endpoint['spec']> = {}): Endpoint => ({
  metadata: { name, namespace: 'default' },
  spec: { networkName: 'blue', nodeName: 'n1', isStatic: false, ...spec },
})

test('the answer to the creation of an endpoint has its allocation, and is the state that is stored', async () => {
  const made = await client.create(Endpoint, endpoint('a'))
  expect(made.status?.allocation).toMatchObject({
    state: 'Allocated',
    generation: 1,
    addresses: [{ prefixLength: 24 }],
  })
  expect(await client.get(Endpoint, made.metadata as { name: string })).toEqual(made)
})

test('a hundred at once get a hundred addresses in their answers', async () => {
  const made = await Promise.all(Array.from({ length: 100 }, (_, at) => client.create(Endpoint, endpoint(`many-${at}`))))
  const addresses = made.map(({ status }) => status?.allocation?.state === 'Allocated' && status.allocation.addresses[0]!.address)
  expect(new Set(addresses).size).toBe(100)
  expect(addresses).not.toContain(false)
}) // prettier-ignore

test('a refusal is in the answer too', async () => {
  const made = await client.create(Endpoint, endpoint('b', { perfTierName: 'gold' }))
  expect(made.status?.allocation).toMatchObject({ state: 'Refused', code: 'Exhausted' })
})

test('binding a static endpoint answers with the decision for its holder', async () => {
  const made = await client.create(Endpoint, endpoint('c', { isStatic: true, nodeName: undefined }))
  const bound = await client.patch(Endpoint, made.metadata as { name: string }, {
    metadata: { finalizers: [attachmentFinalizer] },
    spec: { nodeName: 'n1', holder: { containerId: 'x', interfaceName: 'eth0' } },
  })
  expect(bound.metadata.generation).toBe(2)
  expect(bound.status?.allocation).toMatchObject({ state: 'Allocated', generation: 2 })
})

test('what is being deleted, or is nobody\'s to decide about, is answered at once', async () => {
  const begin = Date.now()
  await client.create(PerfTier, { metadata: { name: 'plain' }, spec: {} })
  const made = await client.create(Endpoint, endpoint('d'))
  await client.patch(Endpoint, made.metadata as { name: string }, { metadata: { finalizers: [attachmentFinalizer] } })
  await client.delete(Endpoint, made.metadata as { name: string })
  await client.patch(Endpoint, made.metadata as { name: string }, { metadata: { finalizers: [] } })
  expect(Date.now() - begin).toBeLessThan(5_000)
}) // prettier-ignore
