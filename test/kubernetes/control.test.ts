import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AddressClaim, Endpoint, Lease, Network, Node } from '../../src/api/index.ts'
import { silentLogger } from '../../src/base/index.ts'
import type { ControlFeature } from '../../src/control/feature.ts'
import { features } from '../../src/control/features.ts'
import { admissionPath } from '../../src/control/kubernetes/admission-webhook.ts'
import { checkKubernetesConfig } from '../../src/control/kubernetes/config.ts'
import { startKubernetesControl, type KubernetesControl } from '../../src/control/kubernetes/control.ts'
import { RestStore } from '../../src/store/index.ts'
import { makeControlFiles } from '../support/control-files.ts'
import { startKubeApiserver, type KubeApiserver } from '../support/kube-apiserver.ts'

let apiserver: KubeApiserver
let files: Awaited<ReturnType<typeof makeControlFiles>>
let store: RestStore
const replicas: KubernetesControl[] = []

beforeAll(async () => {
  apiserver = await startKubeApiserver()
  files = await makeControlFiles()
  store = new RestStore({ server: apiserver.server, caFile: apiserver.caFile, token: apiserver.token })
  apiserver.kubectl('create', 'namespace', 'carbonado-system')
})
afterAll(async () => {
  for (const replica of replicas) await replica.stop()
  await store?.close()
  files?.[Symbol.dispose]()
  await apiserver?.close()
})

async function startReplica(startedFeatures: ControlFeature[] = features): Promise<KubernetesControl> {
  const tokenFile = join(files.folder, 'apiserver-token')
  writeFileSync(tokenFile, apiserver.token)
  const { server, caFile } = apiserver
  const config = checkKubernetesConfig(
    {
      kubernetes: { server, caFile, tokenFile },
      listen: { host: '127.0.0.1', port: 0 },
      tls: { certificateFile: files.certificateFile, keyFile: files.keyFile },
    },
    'of the test',
  )
  const replica = await startKubernetesControl(config, { logger: silentLogger(), features: startedFeatures })
  replicas.push(replica)
  return replica
}

const blue: Network = {
  metadata: { name: 'blue' },
  spec: { subnets: [{ cidr: '10.30.0.0/24', ranges: [], gateway: '10.30.0.1' }], vlan: 100, plane: 'pods', isDefault: false }, // prettier-ignore
}

async function endpointOn(name: string): Promise<Endpoint> {
  await store.create(Endpoint, {
    metadata: { name, namespace: 'default' },
    spec: { networkName: 'blue', isStatic: true },
  })
  return expect
    .poll(async () => (await store.get(Endpoint, { name, namespace: 'default' })).status?.allocation, {
      timeout: 60_000,
    }) // prettier-ignore
    .toMatchObject({ state: 'Allocated' })
    .then(() => store.get(Endpoint, { name, namespace: 'default' }))
}

describe('control on a Kubernetes API server', () => {
  test('one of two replicas leads and allocates', async () => {
    const [one, other] = [await startReplica(), await startReplica()]
    await expect.poll(() => [one.isLeading(), other.isLeading()].filter(Boolean).length).toBe(1)
    await store.create(Network, blue)
    const endpoint = await endpointOn('first')
    expect(endpoint.status?.allocation).toMatchObject({ vlan: 100 })
    expect((await store.list(AddressClaim)).items).toHaveLength(1)
  })

  test('its webhook refuses at kubectl apply what its own store would refuse', async () => {
    const webhook = {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingWebhookConfiguration',
      metadata: { name: 'carbonado' },
      webhooks: [
        {
          name: 'admission.carbonado.io',
          admissionReviewVersions: ['v1'],
          sideEffects: 'None',
          failurePolicy: 'Fail',
          clientConfig: {
            url: `${replicas[0]!.urls[0]}${admissionPath}`,
            caBundle: readFileSync(files.certificateFile).toString('base64'),
          },
          rules: [{ apiGroups: ['carbonado.io'], apiVersions: ['*'], resources: ['*'], operations: ['CREATE', 'UPDATE', 'DELETE'] }], // prettier-ignore
        },
      ],
    }
    const file = join(files.folder, 'webhook.json')
    writeFileSync(file, JSON.stringify(webhook))
    apiserver.kubectl('apply', '-f', file)
    const overlapping = { ...blue, metadata: { name: 'overlapping' } }
    await expect
      .poll(() =>
        store.create(Network, overlapping).then(
          () => store.delete(Network, { name: 'overlapping' }),
          (error: Error) => error.message,
        ),
      ) // prettier-ignore
      .toMatch(/also handed out by network blue/)
    await expect(store.delete(Network, { name: 'blue' })).rejects.toThrow(/use/)
    await store.create(Node, { metadata: { name: 'n9' }, spec: { uplinks: { pods: { interface: 'eth0', rate: '1G' } }, maximumInterfaces: 10 } }) // prettier-ignore
  })

  test('survives a restart of the API server', async () => {
    await apiserver.restart()
    expect((await endpointOn('second')).status?.allocation).toMatchObject({ state: 'Allocated' })
  })

  test('when the leader stops, the other goes on from what is there', async () => {
    await startReplica() // one that lost the lead while the API server was away never stands for it again
    const findLeader = (): KubernetesControl | undefined => replicas.find((replica) => replica.isLeading())
    await expect.poll(findLeader, { timeout: 60_000 }).toBeDefined()
    const leader = findLeader()!
    const transitions = async (): Promise<number> =>
      (await store.get(Lease, { namespace: 'carbonado-system', name: 'control' })).spec.leaseTransitions ?? 0
    const before = await transitions()
    apiserver.kubectl('delete', 'validatingwebhookconfiguration', 'carbonado')
    await leader.stop()
    await expect.poll(() => [undefined, leader].includes(findLeader()), { timeout: 30_000 }).toBe(false)
    await endpointOn('third')
    const { items } = await store.list(Endpoint)
    const addresses = items.map(({ status }) => status?.allocation?.state === 'Allocated' && status.allocation.addresses[0]?.address) // prettier-ignore
    expect(new Set(addresses).size).toBe(3)
    expect(await transitions()).toBe(before + 1)
  })

  test('one that leads and never comes to the end of its start can be stopped, and leaves the lead', async () => {
    for (const replica of replicas.splice(0)) await replica.stop()
    const asked = Promise.withResolvers<void>()
    const hanging: ControlFeature = {
      ...features[0]!,
      start() {
        asked.resolve()
        return new Promise(() => {}) // as while the API server is away
      },
    }
    const one = await startReplica([hanging])
    await asked.promise
    await one.stop()
    const other = await startReplica()
    await expect.poll(() => other.isLeading(), { timeout: 30_000 }).toBe(true)
  })
})
