import './own-lab.ts'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { applyObjects, imageReference, kubectl } from '../../lab/kubernetes/index.ts'
import { waitFor } from '../../lab/processes.ts'

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ kubernetes: true, nodes: 2, rate: null })
  await applyObjects([network])
  for (const { metadata } of await drives((drive) => drive.status?.agent !== undefined)) {
    const wish = JSON.stringify({ spec: { format: { requestId: `request-of-${metadata.name}` } } })
    await kubectl(['patch', 'drives.carbonado.io', metadata.name, '--type=merge', '-p', wish])
  }
  await drives(({ status }) => status?.agent?.state === 'Ready')
})
afterAll(() => lab?.down())

const network = {
  apiVersion: 'carbonado.io/v1alpha1',
  kind: 'Network',
  metadata: { name: 'pods' },
  spec: { subnets: [{ cidr: '10.40.0.0/24', gateway: '10.40.0.1' }], vlan: 300 },
}

interface DriveObject {
  metadata: { name: string }
  status?: { agent?: { state?: string } }
}

/** The drives of both nodes, once all are as asked for. */
async function drives(areSo: (drive: DriveObject) => boolean): Promise<DriveObject[]> {
  let items: DriveObject[] = []
  await waitFor(
    'the drives',
    async () => {
      items = (await get<{ items: DriveObject[] }>('drives.carbonado.io')).items
      return items.filter(areSo).length === 2
    },
    { deadline: 60_000, interval: 200 },
  )
  return items
}

async function get<T>(...what: string[]): Promise<T> {
  return JSON.parse(await kubectl(['get', ...what, '-o', 'json'])) as T
}

interface ClaimOptions {
  size?: string
  storageClass?: string
  mode?: 'Filesystem' | 'Block'
  access?: string
  source?: { kind: string; name: string; apiGroup?: string }
  attributesClass?: string
}

function claim(name: string, options: ClaimOptions = {}): object {
  const { size = '64Mi', storageClass = 'carbonado-best-effort', mode = 'Filesystem' } = options
  const { access = 'ReadWriteOnce', source, attributesClass } = options
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name, namespace: 'default', labels: { app: 'volumes' } },
    spec: {
      storageClassName: storageClass,
      accessModes: [access],
      volumeMode: mode,
      resources: { requests: { storage: size } },
      ...(source ? { dataSource: source } : {}),
      ...(attributesClass ? { volumeAttributesClassName: attributesClass } : {}),
    },
  }
}

interface PodOptions {
  claimName?: string
  nodeName?: string
  isBlock?: boolean
  group?: number
}

/** A pod that has a claim at /data, or as the device /dev/data. */
function pod(name: string, { claimName = name, nodeName, isBlock, group }: PodOptions = {}): object {
  const use = isBlock
    ? { volumeDevices: [{ name: 'data', devicePath: '/dev/data' }] }
    : { volumeMounts: [{ name: 'data', mountPath: '/data' }] }
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: 'default',
      labels: { app: 'volumes' },
      annotations: { 'carbonado.io/endpoint0': '{"network":"pods"}' },
    },
    spec: {
      terminationGracePeriodSeconds: 0,
      ...(nodeName ? { nodeSelector: { 'kubernetes.io/hostname': nodeName } } : {}),
      ...(group ? { securityContext: { fsGroup: group, runAsUser: 1234 } } : {}),
      containers: [
        {
          name: 'main',
          image: imageReference('busybox'),
          imagePullPolicy: 'Never',
          command: ['sleep', 'infinity'],
          ...use,
        },
      ],
      volumes: [{ name: 'data', persistentVolumeClaim: { claimName } }],
    },
  }
}

const ready = (...names: string[]): Promise<string> =>
  kubectl(['wait', 'pod', ...names, '--for=condition=Ready', '--timeout=90s'], { deadline: 95_000 })

const run = async (name: string, script: string): Promise<string> =>
  (await kubectl(['exec', name, '--', 'sh', '-ec', script])).trim()

const gone = async (...names: string[]): Promise<void> => {
  await kubectl(['delete', ...names, '--wait=true', '--timeout=90s'], { deadline: 95_000 })
}

interface VolumeObject {
  spec: { perfTierName?: string; filesystem?: string }
  status: { plexes: { nodeName: string }[]; perfTierName?: string }
}

/** The volume behind a claim. */
async function volumeOf(claimName: string): Promise<VolumeObject> {
  const name = await kubectl(['get', 'pvc', claimName, '-o', 'jsonpath={.spec.volumeName}'])
  const handle = await kubectl(['get', 'pv', name, '-o', 'jsonpath={.spec.csi.volumeHandle}'])
  return get<VolumeObject>('volumes.carbonado.io', handle)
}

/** Nothing of claims is left, neither in Kubernetes nor on the drives. */
async function expectNothingLeft(): Promise<void> {
  await kubectl(['delete', 'pod,volumesnapshot,pvc', '--all', '--wait=true', '--timeout=120s'], { deadline: 125_000 })
  await expect
    .poll(
      () =>
        kubectl([
          'get',
          'pv,volumesnapshotcontents,volumes.carbonado.io,plexes,snapshots.carbonado.io,volumeattachments.carbonado.io',
          '-o',
          'name',
        ]),
      { timeout: 60_000 },
    )
    .toBe('')
}

function snapshot(name: string, claimName: string): object {
  return {
    apiVersion: 'snapshot.storage.k8s.io/v1',
    kind: 'VolumeSnapshot',
    metadata: { name, namespace: 'default' },
    spec: { volumeSnapshotClassName: 'carbonado', source: { persistentVolumeClaimName: claimName } },
  }
}

describe('claims of a Kubernetes cluster', () => {
  test('kubelet knows the driver, its topology and how many volumes a node can have; the scheduler where there is room', async () => {
    const node = await get<{ spec: { drivers: object[] } }>('csinode', 'n1')
    expect(node.spec.drivers).toMatchObject([
      {
        name: 'csi.carbonado.io',
        nodeID: 'n1',
        topologyKeys: ['topology.carbonado.io/node'],
        allocatable: { count: 256 },
      },
    ])
    await expect
      .poll(
        async () => {
          const { items } = await get<{ items: { storageClassName: string; capacity: string }[] }>(
            'csistoragecapacities',
            '-A',
          )
          return items.filter((each) => each.storageClassName === 'carbonado-best-effort' && each.capacity !== '0')
            .length
        },
        { timeout: 60_000 },
      )
      .toBe(2)
  })

  test('get their volume where the pod is, its group may write, and what is written stays when the pod goes', async () => {
    await applyObjects([claim('data'), pod('data', { nodeName: 'n2', group: 4321 })])
    await ready('data')
    expect((await volumeOf('data')).status.plexes[0]!.nodeName).toBe('n2')
    expect(await run('data', 'stat -c %g /data; id -u; echo kept > /data/file; sync')).toBe('4321\n1234')
    await gone('pod', 'data')
    await applyObjects([pod('data')]) // without saying where: the volume says it
    await ready('data')
    expect(await run('data', 'cat /data/file')).toBe('kept')
    expect(await kubectl(['get', 'pod', 'data', '-o', 'jsonpath={.spec.nodeName}'])).toBe('n2')
  })

  test('are restored from a snapshot, and cloned', async () => {
    await applyObjects([snapshot('before', 'data')])
    await kubectl(['wait', 'volumesnapshot', 'before', '--for=jsonpath={.status.readyToUse}=true', '--timeout=60s'], { deadline: 65_000 }) // prettier-ignore
    await run('data', 'echo changed > /data/file; sync')
    await applyObjects([
      claim('restored', { source: { kind: 'VolumeSnapshot', name: 'before', apiGroup: 'snapshot.storage.k8s.io' } }),
      claim('cloned', { source: { kind: 'PersistentVolumeClaim', name: 'data' } }),
      pod('restored', { nodeName: 'n1' }), // a copy
      pod('cloned', { nodeName: 'n2' }),
    ])
    await ready('restored', 'cloned')
    expect(await run('restored', 'cat /data/file')).toBe('kept')
    expect(await run('cloned', 'cat /data/file')).toBe('changed')
  })

  test('change their tier while they are used', async () => {
    const attributes = JSON.stringify({ spec: { volumeAttributesClassName: 'carbonado-medium' } })
    await kubectl(['patch', 'pvc', 'data', '-p', attributes])
    await expect.poll(async () => (await volumeOf('data')).status.perfTierName, { timeout: 60_000 }).toBe('medium')
    await expect
      .poll(() => kubectl(['get', 'pvc', 'data', '-o', 'jsonpath={.status.currentVolumeAttributesClassName}']), {
        timeout: 30_000,
      })
      .toBe('carbonado-medium')
    expect(await run('data', 'cat /data/file')).toBe('changed')
    await expectNothingLeft()
  })

  test('of XFS grow while they are used; of block devices too', async () => {
    await applyObjects([
      claim('grows', { storageClass: 'carbonado-best-effort-xfs', size: '320Mi' }),
      claim('raw', { mode: 'Block' }),
      pod('grows'),
      pod('raw', { isBlock: true }),
    ])
    await ready('grows', 'raw')
    const megabytes = async (): Promise<number> => Number(await run('grows', "df -m /data | awk 'END { print $2 }'"))
    const before = await megabytes()
    await run('raw', 'echo on-the-device | dd of=/dev/data bs=512 conv=sync,fsync')
    for (const [name, storage] of [
      ['grows', '640Mi'],
      ['raw', '128Mi'],
    ]) {
      await kubectl(['patch', 'pvc', name!, '-p', JSON.stringify({ spec: { resources: { requests: { storage } } } })])
    }
    await expect.poll(megabytes, { timeout: 90_000 }).toBeGreaterThan(before + 250)
    await expect
      .poll(() => kubectl(['get', 'pvc', 'grows', 'raw', '-o', 'jsonpath={.items[*].status.capacity.storage}']), {
        timeout: 90_000,
      })
      .toBe('640Mi 128Mi')
    expect(await run('raw', 'blockdev --getsize64 /dev/data; head -c 13 /dev/data')).toBe(
      `${128 * 2 ** 20}\non-the-device`,
    )
    await expectNothingLeft()
  })

  test('that one pod may use are not given to a second one', async () => {
    await applyObjects([claim('alone', { access: 'ReadWriteOncePod' }), pod('first', { claimName: 'alone' })])
    await ready('first')
    await applyObjects([pod('second', { claimName: 'alone' })])
    await expect
      .poll(() => kubectl(['get', 'pod', 'second', '-o', 'jsonpath={.status.conditions[*].message}']), {
        timeout: 30_000,
      })
      .toMatch(/ReadWriteOncePod/)
    await gone('pod', 'first')
    await ready('second')
    await expectNothingLeft()
  })
})
