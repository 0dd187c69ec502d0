import { describe, expect, it } from 'vitest'
import type { CreateVolumeRequest } from './csi-messages.ts'
import { checkSame, volumeOf, wantedSize } from './volume-request.ts'

const mount = (fsType = ''): CreateVolumeRequest['volumeCapabilities'][number] => ({
  accessType: 'mount',
  mount: { fsType, mountFlags: [], volumeMountGroup: '' },
  accessMode: { mode: 'SINGLE_NODE_WRITER' },
})
const block: CreateVolumeRequest['volumeCapabilities'][number] = {
  accessType: 'block',
  mount: null,
  accessMode: { mode: 'SINGLE_NODE_SINGLE_WRITER' },
}

function request(more: Partial<CreateVolumeRequest> = {}): CreateVolumeRequest {
  return {
    name: 'v1',
    capacityRange: { requiredBytes: 2 ** 30, limitBytes: 0 },
    volumeCapabilities: [mount()],
    parameters: {},
    secrets: {},
    volumeContentSource: null,
    accessibilityRequirements: null,
    mutableParameters: {},
    ...more,
  }
}

describe('a volume for a request', () => {
  it('has size, tier, filesystem and nodes as asked for', () => {
    const preferred = [{ segments: { 'topology.carbonado.io/node': 'n2' } }]
    const requisite = [{ segments: { 'topology.carbonado.io/node': 'n1' } }, ...preferred]
    const parameters = {
      perfTier: 'high',
      fsType: 'xfs',
      'csi.storage.k8s.io/pvc/name': 'data',
      'csi.storage.k8s.io/pvc/namespace': 'shop',
    }
    const { metadata, spec } = volumeOf(
      request({ parameters, accessibilityRequirements: { requisite, preferred } }),
      undefined,
    )
    expect(metadata).toEqual({
      name: 'v1',
      annotations: { 'csi.carbonado.io/name': 'v1', 'carbonado.io/claim': 'shop/data' },
    })
    expect(spec).toEqual({
      size: 2 ** 30,
      mirrorCount: 1,
      filesystem: 'xfs',
      perfTierName: 'high',
      nodeNames: ['n1', 'n2'],
      preferredNodeNames: ['n2'],
    })
  })

  it('has a name that objects can have, another one for each name', () => {
    const names = ['Upper Case', 'upper case', 'ümlaut', '日本', 'a/b', '.', 'x'.repeat(128), 'x'.repeat(101)]
    const made = names.map((name) => volumeOf(request({ name }), undefined).metadata.name)
    expect(new Set(made).size).toBe(names.length)
    for (const name of made) expect(name).toMatch(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/)
    for (const name of made) expect(name.length).toBeLessThanOrEqual(100)
  })

  it('is a raw block device without a filesystem, or one of its source', () => {
    expect(volumeOf(request({ volumeCapabilities: [block] }), undefined).spec.filesystem).toBeUndefined()
    const source = { source: { snapshotName: 's1' }, size: 2 ** 31, filesystem: 'xfs' as const }
    expect(volumeOf(request(), source).spec).toMatchObject({
      filesystem: 'xfs',
      size: 2 ** 31,
      source: { snapshotName: 's1' },
    })
  })

  it.each([
    ['an unknown parameter', { parameters: { tier: 'high' } }],
    ['an encrypted one', { parameters: { encrypted: 'true' } }],
    ['two copies', { parameters: { mirrorCount: '2' } }],
    ['an unknown filesystem', { parameters: { fsType: 'ntfs' } }],
    ['two filesystems', { parameters: { fsType: 'xfs' }, volumeCapabilities: [mount('ext4')] }],
    ['mount and block', { volumeCapabilities: [mount(), block] }],
    ['no capability', { volumeCapabilities: [] }],
    [
      'writers on many nodes',
      { volumeCapabilities: [{ ...mount(), accessMode: { mode: 'MULTI_NODE_MULTI_WRITER' as const } }] },
    ],
    [
      'a mount flag that binds',
      { volumeCapabilities: [{ ...mount(), mount: { ...mount().mount!, mountFlags: ['bind'] } }] },
    ],
    [
      'a mount flag of several',
      { volumeCapabilities: [{ ...mount(), mount: { ...mount().mount!, mountFlags: ['ro,suid'] } }] },
    ],
    ['an empty name', { name: '' }],
    ['a long name', { name: 'x'.repeat(129) }],
    ['a negative size', { capacityRange: { requiredBytes: -1, limitBytes: 0 } }],
    ['a limit below the size', { capacityRange: { requiredBytes: 2 ** 30, limitBytes: 2 ** 29 } }],
    ['another mutable parameter', { mutableParameters: { fsType: 'xfs' } }],
  ] as [string, Partial<CreateVolumeRequest>][])('is refused with %s', (_what, more) => {
    expect(() => volumeOf(request(more), undefined)).toThrow(expect.objectContaining({ csiCode: 'INVALID_ARGUMENT' }))
  })

  it('is not taken for another one of that name', () => {
    const wanted = volumeOf(request(), undefined)
    expect(() => checkSame(wanted, wanted, request())).not.toThrow()
    const others = [
      { ...wanted, metadata: { name: 'v1' } },
      { ...wanted, spec: { ...wanted.spec, filesystem: 'xfs' as const } },
      { ...wanted, spec: { ...wanted.spec, size: 2 ** 29 } },
      { ...wanted, spec: { ...wanted.spec, source: { volumeName: 'v0' } } },
    ]
    for (const other of others) {
      expect(() => checkSame(other, wanted, request())).toThrow(expect.objectContaining({ csiCode: 'ALREADY_EXISTS' }))
    }
  })
})

describe('a size', () => {
  const size = (requiredBytes: number, limitBytes: number, filesystem?: 'ext4' | 'xfs', atLeast?: number): number =>
    wantedSize({ requiredBytes, limitBytes }, filesystem, atLeast)

  it('is rounded up to whole MiB, and at least what the filesystem needs', () => {
    expect(size(1, 0)).toBe(2 ** 20)
    expect(size(2 ** 20 + 1, 0)).toBe(2 ** 21)
    expect(size(1, 0, 'xfs')).toBe(300 * 2 ** 20)
    expect(size(0, 0)).toBe(2 ** 30)
    expect(size(0, 5 * 2 ** 20)).toBe(5 * 2 ** 20)
    expect(wantedSize(null, 'ext4', undefined)).toBe(2 ** 30)
  })

  it.each([
    ['1 EiB', 2 ** 60, 0],
    ['the largest number', 2 ** 63, 0],
    ['a range without a whole MiB', 2 ** 20 + 1, 2 ** 20 + 2],
  ])('of %s is out of range', (_what, required, limit) => {
    expect(() => size(required, limit)).toThrow(expect.objectContaining({ csiCode: 'OUT_OF_RANGE' }))
  })

  it('below that of its source is out of range', () => {
    expect(() => size(2 ** 20, 2 ** 21, undefined, 2 ** 30)).toThrow(
      expect.objectContaining({ csiCode: 'OUT_OF_RANGE' }),
    )
  })
})
