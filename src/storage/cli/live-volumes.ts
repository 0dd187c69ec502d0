import type { Volume } from '../../api/index.ts'
import { asCarbonadoError } from '../../base/index.ts'
import type { VerbContext } from '../../verb/index.ts'
import type { LiveDrive, LiveStorage, LiveVolume } from '../live-volume.ts'

/** What the agent tells of a volume, of the drive it lies on and of the others there. */
export interface VolumeReport {
  live: LiveVolume
  drive?: LiveDrive
  /** Volumes on the same drive that did something in the last second, the busiest first. */
  competitors: LiveVolume[]
}

/**
 * Asks the agents of all nodes that the volumes lie on; by name of the volume. A node that does not answer is noted on
 * standard error and its volumes are missing, so that one node that is down does not hide the others.
 */
export async function readLiveVolumes(context: VerbContext, volumes: Volume[]): Promise<Map<string, VolumeReport>> {
  const nodes = new Set(volumes.flatMap(({ status }) => (status?.plexes ?? []).map(({ nodeName }) => nodeName)))
  const answers = await Promise.all([...nodes].sort().map((nodeName) => readNode(context, nodeName)))
  return new Map(answers.flatMap((answer) => answer.volumes.map((live) => [live.name, reportOf(live, answer)])))
}

function reportOf(live: LiveVolume, { volumes, drives }: LiveStorage): VolumeReport {
  const drive = drives.find(({ name }) => name === live.driveName)
  const others = volumes.filter((other) => other !== live && other.driveName === live.driveName && other.iops > 0)
  return { live, ...(drive ? { drive } : {}), competitors: others.sort((one, other) => other.iops - one.iops) }
}

async function readNode(context: VerbContext, nodeName: string): Promise<LiveStorage> {
  try {
    const answer = await context.readAgent<LiveStorage>(nodeName, 'v1/volumes')
    if (answer.problem !== undefined) context.note(`note: node ${nodeName}: ${answer.problem}`)
    return answer
  } catch (error) {
    const { message, remedy } = asCarbonadoError(error)
    context.note(`note: no live figures of node ${nodeName}: ${message}${remedy ? ` (${remedy})` : ''}`)
    return { volumes: [], drives: [] }
  }
}
