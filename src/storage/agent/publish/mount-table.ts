/** One mount of this mount namespace; proc(5), mountinfo. */
export interface MountEntry {
  mountPoint: string
  /** `major:minor` of the filesystem's device. */
  device: string
  filesystem: string
  /** Whether this mount may only be read. */
  isReadOnly: boolean
  /** Whether the filesystem itself may only be read, such as after errors. */
  isFilesystemReadOnly: boolean
}

/** Reads the text of /proc/self/mountinfo. */
export function parseMountTable(text: string): MountEntry[] {
  return text.split('\n').flatMap((line) => {
    const [head = '', tail = ''] = line.split(' - ')
    const [, , device, , mountPoint, options] = head.split(' ')
    const [filesystem, , superOptions] = tail.split(' ')
    if (!device || mountPoint === undefined || !filesystem) return []
    return [
      {
        mountPoint: unescapeOctal(mountPoint),
        device,
        filesystem,
        isReadOnly: hasReadOnly(options),
        isFilesystemReadOnly: hasReadOnly(superOptions),
      },
    ]
  })
}

/** What is mounted at a path, the one that is seen last; undefined when nothing is. */
export function mountAt(path: string, table: MountEntry[]): MountEntry | undefined {
  return table.findLast(({ mountPoint }) => mountPoint === path)
}

/** Whether a mount shows the filesystem of a device. */
export function showsDevice(mount: MountEntry | undefined, deviceNumber: string | undefined): boolean {
  return mount !== undefined && deviceNumber !== undefined && mount.device === deviceNumber
}

function hasReadOnly(options = ''): boolean {
  return options.split(',').includes('ro')
}

function unescapeOctal(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(parseInt(code, 8)))
}
