import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { labLoopDevices } from '../../lab/drives.ts'
import { nodePlaces, nodePools, type Lab } from '../../lab/index.ts'
import { kubectl } from '../../lab/kubernetes/index.ts'
import { decodeEndpoint } from '../../src/network/soft-vf/map-layout.ts'
import { dumpMap, hexBytes, readJournal } from './inventory.ts'

/** What pods with interfaces and volumes leave, wherever that is, by what it is; each list is sorted. */
export type ClusterTraces = Record<string, string[]>

/** Objects that come and go with pods and claims. */
const kinds = [
  'endpoints.carbonado.io',
  'addressclaims',
  'macclaims',
  'volumes.carbonado.io',
  'plexes',
  'snapshots.carbonado.io',
  'volumeattachments.carbonado.io',
  'volumeattachments.storage.k8s.io',
  'persistentvolumes',
  'persistentvolumeclaims',
]

/** Waits until what pods left behind earlier is gone, so that what is there now is what must be there again later. */
export async function settledClusterTraces(lab: Lab): Promise<ClusterTraces> {
  let last = await takeClusterTraces(lab)
  for (let equal = 0; equal < 3;) {
    await sleep(1_000)
    const now = await takeClusterTraces(lab)
    equal = isDeepStrictEqual(now, last) ? equal + 1 : 0
    last = now
  }
  return last
}

/**
 * All that is there of pods and claims in the store, in kernels and on drives. Two of them are equal when what happened
 * in between left nothing. Maps of what the wire has told (LRU maps: senders, hosts, duplicates) are left out, and so are
 * figures: a slot that nobody has is set back when it is taken.
 */
export async function takeClusterTraces(lab: Lab): Promise<ClusterTraces> {
  const [objects, ...nodes] = await Promise.all([
    kubectl(['get', kinds.join(','), '-A', '-o', 'name']),
    ...lab.nodes.map((node) => tracesOfNode(lab, node)),
  ])
  const ofNodes = nodes.flatMap((traces, index) =>
    Object.entries(traces).map(([what, found]): [string, string[]] => [
      `${what} of ${lab.nodes[index]}`,
      found.toSorted(),
    ]),
  )
  return {
    objects: lines(objects),
    'loop devices': labLoopDevices()
      .map(({ devicePath }) => devicePath)
      .toSorted(),
    ...Object.fromEntries(ofNodes),
  }
}

async function tracesOfNode(lab: Lab, node: string): Promise<ClusterTraces> {
  const run = async (...command: string[]): Promise<string[]> => lines((await lab.nodeExec(node, command)).stdout)
  const [interfaces, classes, pins, mounts, pool, volumes, entries] = await Promise.all([
    run('sh', '-c', 'ip -br link show type veth | cut -d " " -f 1'),
    run('tc', 'class', 'show', 'dev', 'eth0'),
    run('find', nodePlaces.bpffs),
    run('cut', '-d', ' ', '-f', '5', '/proc/self/mountinfo'),
    run('find', nodePools(node), '-mindepth', '1'),
    run('sh', '-c', `find ${nodePlaces.agentState}/volumes -type f 2> /dev/null; true`),
    mapEntries(lab, node),
  ])
  const journal = readJournal(node)
  const ofPods = ['/var/lib/kubelet/', '/run/containerd/', '/run/netns/cni-', nodePools(node)] // others are of the machine
  return {
    interfaces,
    'traffic classes': classes.map((line) => line.split(' ').slice(0, 3).join(' ')),
    pins,
    mounts: mounts.filter((path) => ofPods.some((start) => path.startsWith(start))).map(withoutContainerId),
    'files in pools': pool,
    'records of volumes': volumes,
    'records of the journal': journal,
    ...entries,
  }
}

/** A container that was started again is another one, and leaves as much. */
function withoutContainerId(path: string): string {
  return path.replace(/[0-9a-f]{64}/, 'CONTAINER')
}

/** Elements of the maps of a node that are in use. */
async function mapEntries(lab: Lab, node: string): Promise<ClusterTraces> {
  const names = ['endpoints', 'forwarding', 'places', 'limits', 'limit_states']
  const maps = names.map(async (name): Promise<[string, string[]]> => {
    const elements = await dumpMap(lab, node, name)
    const used = elements.filter(({ value }) => value.some((byte) => byte !== '0x00'))
    return [`entries in ${name}`, used.map(({ key, value }) => `${key.join('')} ${describeValue(name, value)}`)]
  })
  return Object.fromEntries(await Promise.all(maps))
}

/** Values of endpoints hold figures that change by themselves. */
function describeValue(map: string, value: string[]): string {
  if (map === 'endpoints') return decodeEndpoint(hexBytes(value))?.endpointId ?? 'nobody'
  return ['forwarding', 'places'].includes(map) ? value.join('') : ''
}

function lines(text: string): string[] {
  return text.split('\n').filter(Boolean).sort()
}
