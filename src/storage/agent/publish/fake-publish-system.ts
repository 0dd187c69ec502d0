import type { FilesystemType } from '../../../api/index.ts'
import { Conflict } from '../../../base/index.ts'
import type { MountEntry } from './mount-table.ts'
import type { DeviceContent, PathKind } from './publish-decision.ts'
import type { PublishSystem } from './publish-system.ts'

/** A kernel in memory, which outlives agents; for tests. */
export interface FakeKernel {
  /** What is mounted where, the device in place of its number; the last one at a path is seen. */
  mounts: { path: string; device: string; readOnly: boolean; isBlock: boolean }[]
  paths: Map<string, PathKind>
  devices: Map<string, { content: DeviceContent; size: number }>
  /** Every effect in its order. */
  effects: string[]
}

/** An empty kernel. */
export function createFakeKernel(): FakeKernel {
  return { mounts: [], paths: new Map(), devices: new Map(), effects: [] }
}

/** The fake kernel as an agent sees it. `effect` is called around each change, and may throw as if the agent had died. */
export function fakePublishSystem(
  kernel: FakeKernel,
  effect: <T>(name: string, work: () => T) => T = (_name, work) => work(),
): PublishSystem {
  const change = async (name: string, work: () => void): Promise<void> => effect(name, () => note(name, work))
  const note = (name: string, work: () => void): void => {
    kernel.effects.push(name)
    work()
  }
  const device = (path: string): { content: DeviceContent; size: number } => kernel.devices.get(path)!
  const grow = (path: string): void => {
    const { content, size } = device(path)
    if (typeof content === 'object' && 'type' in content)
      kernel.devices.set(path, { size, content: { ...content, size } })
  }
  return {
    mounts: () => kernel.mounts.map(entryOf),
    pathKind: (path) => kernel.paths.get(path) ?? 'absent',
    deviceNumber: (path) => {
      const bound = kernel.mounts.findLast((mount) => mount.path === path && mount.isBlock)
      return bound?.device ?? (kernel.devices.has(path) ? path : undefined)
    },
    deviceSize: (path) => device(path).size,
    content: (path) => Promise.resolve(device(path).content),
    // half of it is there before it is whole
    async format(path, type: FilesystemType) {
      await change('begin to format', () => (device(path).content = { other: 'half of a filesystem' }))
      await change('format', () => (device(path).content = { type, size: device(path).size, isClean: true }))
    },
    check: (path) =>
      change(
        'check',
        () => (device(path).content = { ...(device(path).content as object), isClean: true } as DeviceContent),
      ),
    growUnmounted: (path) => change('grow unmounted', () => grow(path)),
    growMounted: (path) => change('grow mounted', () => grow(path)),
    mount: (path, at, _type, options) =>
      change('mount', () => {
        const { content } = device(path)
        if (typeof content !== 'object' || !('type' in content)) throw new Conflict('wrong fs type, bad superblock')
        kernel.mounts.push({ path: at, device: path, readOnly: options.includes('ro'), isBlock: false })
      }),
    bind: (source, target) =>
      change('bind', () => {
        const mounted = kernel.mounts.findLast(({ path }) => path === source)
        const isBlock = kernel.devices.has(source)
        kernel.mounts.push({
          path: target,
          device: isBlock ? source : mounted!.device,
          readOnly: mounted?.readOnly ?? false,
          isBlock,
        })
      }),
    makeReadOnly: (target) =>
      change('make read-only', () => (kernel.mounts.findLast(({ path }) => path === target)!.readOnly = true)),
    unmount: (path) =>
      change('unmount', () => {
        const index = kernel.mounts.findLastIndex((mount) => mount.path === path)
        if (index >= 0) kernel.mounts.splice(index, 1)
      }),
    makeFolder: (path) =>
      effect('make folder', () => note('make folder', () => kernel.paths.set(path, 'empty folder'))),
    makeFile: (path) => effect('make file', () => note('make file', () => kernel.paths.set(path, 'file'))),
    remove: (path) => effect('remove', () => note('remove', () => kernel.paths.delete(path))),
  }
}

function entryOf({ path, device, readOnly }: FakeKernel['mounts'][number]): MountEntry {
  return { mountPoint: path, device, filesystem: 'fake', isReadOnly: readOnly, isFilesystemReadOnly: false }
}
