import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Snapshot, Volume } from '../../../src/api/index.ts'
import { Cluster } from './cluster.ts'

let cluster: Cluster

beforeAll(async () => {
  cluster = await Cluster.start()
  await cluster.addNode('n1')
  const { store } = cluster.control
  const volume = await store.create(Volume, { metadata: { name: 'v1' }, spec: { size: '1Gi', mirrorCount: 1 } })
  await store.create(Snapshot, { metadata: { name: 's1' }, spec: { volumeName: volume.metadata.name } })
})
afterAll(() => cluster[Symbol.asyncDispose]())

const names = async (kind: typeof Volume | typeof Snapshot): Promise<string[]> =>
  (await cluster.control.store.list(kind as typeof Volume)).items.map(({ metadata }) => metadata.name)

describe('a request for a volume or snapshot that cannot be', () => {
  it.each([
    ['volume create bad -s 0', 2, 'not between 1 MiB and 1 PiB'],
    ['volume create bad -s -1G', 2, '--size'],
    ['volume create bad -s 1Ei', 2, '"1Ei" is not a quantity'],
    ['volume create bad -s 1048576Ti', 2, '1048576Ti'],
    ['volume create bad -s 1025Ti', 2, 'not between 1 MiB and 1 PiB'],
    ['volume create bad -s 10Q', 2, '10Q'],
    ['volume create bad -s 1M -f ext4', 2, 'too small for ext4'],
    ['volume create bad -s 1G -f zfs', 2, 'zfs'],
    ['volume create bad -s 1G -p unheard-of', 3, 'perf-tier unheard-of does not exist'],
    ['volume create bad -s 1G -n nowhere', 3, 'node nowhere does not exist'],
    ['volume create bad --src missing', 3, 'missing'],
    ['volume create bad --src-volume missing', 3, 'missing'],
    ['volume create bad -s 512Mi --src-volume v1 -b', 2, 'is smaller than volume v1'],
    ['volume create v1 -s 1G', 4, 'v1'],
    ['volume update v1 -s 512Mi', 2, 'cannot shrink'],
    ['volume update v1 -p unheard-of', 3, 'perf-tier unheard-of does not exist'],
    ['volume update missing -s 2G', 3, 'missing'],
    ['volume restore v1 --source-snapshot missing -y', 3, 'missing'],
    ['volume delete v1 -y', 4, 'in use by 1 snapshot: s1'],
    ['snapshot create bad --src missing', 3, 'volume missing does not exist'],
    ['snapshot create bad --src v1 --quiesce', 2, 'has no filesystem to freeze'],
  ])('is refused with a reason, and leaves nothing: %s', async (line, exitCode, text) => {
    const run = await cluster.dctl(line)
    expect(run.errors).toContain(text)
    expect(run).toMatchObject({ exitCode, output: '' })
    expect(await names(Volume)).toEqual(['v1'])
    expect(await names(Snapshot)).toEqual(['s1'])
    expect((await cluster.control.store.get(Volume, { name: 'v1' })).spec.size).toBe('1Gi')
  })
})
