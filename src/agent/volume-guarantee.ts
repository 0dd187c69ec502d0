import { join } from 'node:path'
import { readIfWhole, writeWhole, type Logger } from '../base/index.ts'
import { sumOfWindows, WindowHistory, type Windows } from '../guarantee/index.ts'
import {
  findCgroupIo,
  IopsGuarantee,
  ReleaseWatch,
  removeStaleLimits,
  type GuardedVolume,
} from '../storage/io-limits/index.ts'
import type { StorageAgent } from '../storage/agent/index.ts'
import type { LiveStorage, LiveVolume } from '../storage/live-volume.ts'
import { lastHour, steadyNow } from './attainment-memory.ts'
import type { Part } from './parts.ts'

const saveInterval = 60_000
const noWindows: Windows = { withDemand: 0, attained: 0 }

/** The guarantee of the volumes of this node as a part of the agent. */
export interface VolumeGuarantee extends Part {
  live(): LiveStorage
  /** Runs work while nothing holds these volumes back, given by the uids of their plexes. */
  withoutLimits<T>(plexUids: string[], work: () => Promise<T>): Promise<T>
  /** Bytes per second that a copy may move, by the uid of the snapshot or plex; undefined: as much as it can. */
  copyAllowance(id: string): number | undefined
}

/**
 * Makes the part. Windows are this agent's own; those before are in a file beside its journal, written once a minute, since
 * all that can be lost is a minute of figures. `storage` is asked for late: it is made with this part.
 */
export function createVolumeGuarantee(
  stateDirectory: string,
  storage: () => StorageAgent,
  logger: Logger,
): VolumeGuarantee {
  const file = join(stateDirectory, 'volume-attainment.json')
  const hour = new WindowHistory(lastHour)
  let earlier = new Map<string, Windows>()
  const io = findCgroupIo()
  const windowsOf = (id: string): Windows => sumOfWindows([earlier.get(id) ?? noWindows, guarantee.windowsOf(id)])
  const guarantee = new IopsGuarantee({
    volumes: () => storage().guardedVolumes(),
    ability: (driveName) => storage().abilityOf(driveName),
    io,
    release: new ReleaseWatch(stateDirectory, logger),
    onWindows: (readings) => hour.record(steadyNow(), readings.map(({ id }) => ({ id, windows: windowsOf(id) }))), // prettier-ignore
    logger,
  })
  let timer: NodeJS.Timeout | undefined
  const save = (): Promise<void> =>
    writeWhole(file, JSON.stringify(hour.save())).catch((error: unknown) =>
      logger.debug({ err: error }, 'the attainment of volumes could not be kept'),
    )
  const live = (volume: GuardedVolume): LiveVolume => {
    const { id, name, driveName, devicePath, floor: iopsFloor, cap } = volume
    const { operations, bytes, heldTo } = guarantee.rates(id) ?? { operations: 0, bytes: 0 }
    const recent = hour.recent(id)
    return {
      ...{
        name,
        plexUid: id,
        driveName,
        devicePath,
        iopsFloor,
        iops: Math.round(operations),
        bytes: Math.round(bytes),
      },
      ...(cap === undefined ? {} : { iopsCap: cap }),
      ...(heldTo === undefined ? {} : { heldTo: Math.round(heldTo) }),
      ...(iopsFloor > 0 ? { windows: windowsOf(id) } : {}),
      ...(recent && iopsFloor > 0 ? { lastHour: { ...recent, since: new Date(recent.since).toISOString() } } : {}),
    }
  }
  return {
    name: guarantee.name,
    start() {
      if (io) removeStaleLimits(io)
      hour.restore(readIfWhole(file), steadyNow())
      earlier = hour.totals()
      if (!io)
        logger.warn(
          'neither blkio of cgroup v1 nor io of cgroup v2 is mounted: floors and caps of volumes are not kept',
        )
      timer = setInterval(() => void save(), saveInterval)
      guarantee.start()
    },
    async stop() {
      clearInterval(timer)
      guarantee.stop()
      await save()
    },
    withoutLimits: (plexUids, work) => guarantee.withoutLimits(plexUids, work),
    copyAllowance: (id) => guarantee.allowance(id),
    live() {
      const volumes = guarantee.volumes.filter(({ isCopy = false }) => !isCopy).map(live)
      const drives = [...new Set(volumes.map(({ driveName }) => driveName))].map((name) => {
        const calibrated = storage().abilityOf(name)?.iops
        const delivered = volumes.filter((each) => each.driveName === name).reduce((sum, { iops }) => sum + iops, 0)
        return { name, ...(calibrated === undefined ? {} : { calibrated }), delivered }
      })
      const problem = 'no cgroup controller of this node can hold I/O back'
      return { volumes, drives, ...(io ? {} : { problem }) }
    },
  }
}
