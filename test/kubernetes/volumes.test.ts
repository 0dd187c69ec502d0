import './own-lab.ts'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import { applyObjects, imageReference, kubectl } from '../../lab/kubernetes/index.ts'
import { formatDrives } from '../support/cluster-drives.ts'

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ kubernetes: true, nodes: 2, rate: null })
  await applyObjects([network])
  await formatDrives(lab.nodes)
})
afterAll(() => lab?.down())

const network = {
  apiVersion: 'carbonado.io/v1alpha1',
  kind: 'Network',
  metadata: { name: 'pods' },
  spec: { subnets: [{ cidr: '10.40.0.0/24', gateway: '10.40.0.1' }], vlan: 300 },
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
    // a floor that the drive of a busy machine has left, too
    const metadata = { name: 'modest' }
    const [driverName, parameters] = ['csi.carbonado.io', { perfTier: 'modest' }]
    await applyObjects([
      { apiVersion: 'carbonado.io/v1alpha1', kind: 'PerfTier', metadata, spec: { storageIops: '100' } },
      { apiVersion: 'storage.k8s.io/v1', kind: 'VolumeAttributesClass', metadata, driverName, parameters },
    ])
    const attributes = JSON.stringify({ spec: { volumeAttributesClassName: 'modest' } })
    await kubectl(['patch', 'pvc', 'data', '-p', attributes])
    await expect.poll(async () => (await volumeOf('data')).status.perfTierName, { timeout: 60_000 }).toBe('modest')
    await expect
      .poll(() => kubectl(['get', 'pvc', 'data', '-o', 'jsonpath={.status.currentVolumeAttributesClassName}']), {
        timeout: 30_000,
      })
      .toBe('modest')
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

describe('the node of a pod with volumes', () => {
  const nodeOf = (name: string): Promise<string> => kubectl(['get', 'pod', name, '-o', 'jsonpath={.spec.nodeName}'])
  const eventsOf = (name: string): Promise<string> =>
    kubectl(['get', 'events', '--field-selector', `involvedObject.name=${name}`, '-o', 'jsonpath={.items[*].message}'])
  const carbonado = (kind: string, name: string, spec: object): object => ({
    apiVersion: 'carbonado.io/v1alpha1',
    kind,
    metadata: { name },
    spec,
  })

  /** A volume on a node and a claim for it. Its PersistentVolume says nothing of nodes, so that only the extender knows. */
  function volumeOn(nodeName: string, name: string): object[] {
    const size = { storage: '64Mi' }
    const csi = { driver: 'csi.carbonado.io', volumeHandle: name, fsType: 'ext4' }
    return [
      carbonado('Volume', name, { size: '64Mi', filesystem: 'ext4', nodeNames: [nodeName] }),
      {
        apiVersion: 'v1',
        kind: 'PersistentVolume',
        metadata: { name },
        spec: { capacity: size, accessModes: ['ReadWriteOnce'], storageClassName: '', csi },
      },
      {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { name, namespace: 'default' },
        spec: { accessModes: ['ReadWriteOnce'], storageClassName: '', volumeName: name, resources: { requests: size } },
      },
    ]
  }

  test('is the one that has the copy; a pod that may not go there is told where it is', async () => {
    const places = { 'on-n1': 'n1', 'on-n2': 'n2', 'also-n1': 'n1', 'also-n2': 'n2' }
    const names = Object.keys(places)
    await applyObjects(Object.entries(places).flatMap(([name, node]) => volumeOn(node, name)))
    const phase = '--for=jsonpath={.status.phase}=Available'
    await kubectl(['wait', 'volumes.carbonado.io', ...names, phase, '--timeout=60s'], { deadline: 65_000 })
    await applyObjects(names.map((name) => pod(name)))
    await ready(...names)
    const nodes = await Promise.all(names.map(async (name) => [name, await nodeOf(name)]))
    expect(Object.fromEntries(nodes)).toEqual(places)
    await gone('pod', 'on-n2')
    await applyObjects([pod('elsewhere', { claimName: 'on-n2', nodeName: 'n1' })])
    await expect.poll(() => eventsOf('elsewhere'), { timeout: 30_000 }).toMatch(/volume on-n2 of claim on-n2 is on n2/)
    await kubectl(['delete', 'pod,pvc', '--all', '--wait=true', '--timeout=120s'], { deadline: 125_000 })
    await gone('pv', ...names)
    await gone('volumes.carbonado.io', ...names)
    await expectNothingLeft()
  })

  /** A tier with a floor and a class of volumes that have it. */
  const classOf = (name: string, floor: number): object[] => [
    carbonado('PerfTier', name, { storageIops: String(floor) }),
    {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: { name },
      provisioner: 'csi.carbonado.io',
      parameters: { perfTier: name },
      volumeBindingMode: 'WaitForFirstConsumer',
    },
  ]

  test('has a drive with the IOPS of its floor left; where none has, it is told what is left of each', async () => {
    const drives = await get<{ items: { status: { capacity: { iops: { total: number } } } }[] }>('drives.carbonado.io')
    const totals = drives.items.map(({ status }) => status.capacity.iops.total)
    const most = Math.floor(Math.max(...totals) * 0.6)
    await applyObjects([
      ...totals.flatMap((total, index) => classOf(`most-of-n${index + 1}`, Math.floor(total * 0.6))),
      ...classOf('most', most),
    ])
    for (const node of ['n1', 'n2']) {
      const name = `on-${node}`
      await applyObjects([claim(name, { storageClass: `most-of-${node}` }), pod(name, { nodeName: node })])
      await ready(name)
    }
    await applyObjects([claim('third', { storageClass: 'most' }), pod('third')])
    const why = (node: string): RegExp =>
      new RegExp(`node ${node}: claim third: needs ${most} IOPS, drive ${node}.drive0 has \\d+ IOPS of \\d+ IOPS left`)
    await expect.poll(() => eventsOf('third'), { timeout: 60_000 }).toMatch(why('n1'))
    expect(await eventsOf('third')).toMatch(why('n2'))
    // and goes on as soon as one has room
    await gone('pod', 'on-n1', 'on-n2')
    await gone('pvc', 'on-n1', 'on-n2')
    await ready('third')
    await expectNothingLeft()
    const names = ['most-of-n1', 'most-of-n2', 'most']
    await gone('storageclass', ...names)
    await gone('perftiers.carbonado.io', ...names)
  })
})
