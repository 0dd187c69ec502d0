import { isDeepStrictEqual } from 'node:util'
import { Volume, type FilesystemType } from '../../api/index.ts'
import { deviceSize, largestVolume, leastVolumeSize } from '../volume-size.ts'
import { capabilityProblem, wantedUse } from './capabilities.ts'
import { CsiError } from './csi-errors.ts'
import type {
  CapacityRange,
  CreateVolumeRequest,
  Texts,
  VolumeCapability,
  VolumeContentSource,
} from './csi-messages.ts'
import { checkMadeFor, csiNameAnnotation, objectNameOf } from './object-names.ts'
import { wantedNodes } from './topology.ts'

/** Bytes of a volume for which no size was asked. */
const defaultSize = 2 ** 30

/** Keys of Kubernetes' own, which tell of the claim that a volume is made for. */
const kubernetesPrefix = 'csi.storage.k8s.io/'

/** Parameters of StorageClasses. */
const parameterNames = ['perfTier', 'mirrorCount', 'fsType', 'encrypted']

/** What a volume is made from, with the bytes that it needs at least. */
export interface KnownSource {
  source: NonNullable<Volume['spec']['source']>
  size: number
  filesystem?: FilesystemType
}

/** Throws INVALID_ARGUMENT for parameters that are not known, or have values that cannot be had. */
export function checkParameters(parameters: Texts, names: string[] = parameterNames): void {
  for (const [name, value] of Object.entries(parameters)) {
    if (name.startsWith(kubernetesPrefix)) continue
    if (!names.includes(name)) {
      throw new CsiError('INVALID_ARGUMENT', `parameter "${name.slice(0, 60)}" is not known`, {
        remedy: `The parameters are ${names.join(', ')}.`,
      })
    }
    if (name === 'encrypted' && value !== 'false') {
      throw new CsiError('INVALID_ARGUMENT', `encrypted "${value.slice(0, 20)}": encryption is not in this version`)
    }
    if (name === 'mirrorCount' && value !== '1') {
      throw new CsiError('INVALID_ARGUMENT', `mirrorCount "${value.slice(0, 20)}": mirrors are not in this version`, {
        remedy: 'Use mirrorCount 1, which is one copy.',
      })
    }
  }
}

/** The tier that parameters name; the mutable ones overrule the others. */
export function tierOf(parameters: Texts, mutableParameters: Texts): string | undefined {
  return mutableParameters.perfTier || parameters.perfTier || undefined
}

/** The volume that a request asks for. Throws INVALID_ARGUMENT and OUT_OF_RANGE. */
export function volumeOf(request: CreateVolumeRequest, from: KnownSource | undefined): Volume {
  const { name, parameters, mutableParameters } = request
  checkParameters(parameters)
  checkParameters(mutableParameters, ['perfTier'])
  const objectName = objectNameOf(name, 'volume')
  const filesystem = wantedFilesystem(request.volumeCapabilities, parameters, from)
  const tier = tierOf(parameters, mutableParameters)
  return {
    metadata: { name: objectName, annotations: annotationsOf(name, parameters) },
    spec: {
      size: wantedSize(request.capacityRange, filesystem, from?.size),
      mirrorCount: 1,
      ...(filesystem ? { filesystem } : {}),
      ...(tier === undefined ? {} : { perfTierName: tier }),
      ...(from ? { source: from.source } : {}),
      ...wantedNodes(request.accessibilityRequirements),
    },
  }
}

/** Throws ALREADY_EXISTS unless an existing volume is what a request asks for. */
export function checkSame(existing: Volume, wanted: Volume, { name, capacityRange }: CreateVolumeRequest): void {
  checkMadeFor(name, existing.metadata, 'volume')
  for (const field of ['filesystem', 'source', 'perfTierName'] as const) {
    if (isDeepStrictEqual(existing.spec[field], wanted.spec[field])) continue
    throw new CsiError('ALREADY_EXISTS', `volume ${existing.metadata.name} exists with another ${field}`)
  }
  const size = deviceSize(existing.spec.size)
  const { requiredBytes = 0, limitBytes = 0 } = capacityRange ?? {}
  if (size < requiredBytes || (limitBytes > 0 && size > limitBytes)) {
    throw new CsiError('ALREADY_EXISTS', `volume ${existing.metadata.name} exists with ${size} bytes, not as asked for`)
  }
}

/**
 * Bytes of a volume for a range: whole MiB, at least what its filesystem and its source need. Throws INVALID_ARGUMENT
 * for a range that is none, OUT_OF_RANGE when no size in it can be had.
 */
export function wantedSize(
  range: CapacityRange | null,
  filesystem: FilesystemType | undefined,
  atLeast: number | undefined,
): number {
  const { requiredBytes = 0, limitBytes = 0 } = range ?? {}
  if (requiredBytes < 0 || limitBytes < 0) {
    throw new CsiError('INVALID_ARGUMENT', `the capacity range ${requiredBytes} to ${limitBytes} is negative`)
  }
  if (limitBytes > 0 && limitBytes < requiredBytes) {
    throw new CsiError('INVALID_ARGUMENT', `limit_bytes ${limitBytes} is below required_bytes ${requiredBytes}`)
  }
  if (atLeast !== undefined && requiredBytes > 0 && requiredBytes < atLeast && limitBytes > 0 && limitBytes < atLeast) {
    throw new CsiError('OUT_OF_RANGE', `the source has ${atLeast} bytes, more than limit_bytes ${limitBytes}`)
  }
  if (requiredBytes > largestVolume) {
    throw new CsiError('OUT_OF_RANGE', `required_bytes ${requiredBytes} is above the largest volume, ${largestVolume}`)
  }
  const standard = limitBytes > 0 ? Math.min(defaultSize, wholeMebibytes(limitBytes)) : defaultSize
  const asked = requiredBytes || atLeast || standard
  const size = deviceSize(Math.max(asked, atLeast ?? 0, leastVolumeSize(filesystem)))
  if (limitBytes > 0 && size > limitBytes) {
    throw new CsiError(
      'OUT_OF_RANGE',
      `the smallest volume for this range has ${size} bytes, limit_bytes is ${limitBytes}`,
    )
  }
  return size
}

/** What a content source names; undefined for an empty volume. Throws INVALID_ARGUMENT. */
export function namedSource(
  source: VolumeContentSource | null,
): { snapshotName: string } | { volumeName: string } | undefined {
  if (!source) return undefined
  const { snapshot, volume } = source
  if (snapshot?.snapshotId) return { snapshotName: snapshot.snapshotId }
  if (volume?.volumeId) return { volumeName: volume.volumeId }
  throw new CsiError('INVALID_ARGUMENT', 'the volume content source names neither a snapshot nor a volume')
}

function wantedFilesystem(
  capabilities: VolumeCapability[],
  parameters: Texts,
  from: KnownSource | undefined,
): FilesystemType | undefined {
  if (capabilities.length === 0) throw new CsiError('INVALID_ARGUMENT', 'the request has no volume capabilities')
  const uses = capabilities.map(wantedUse)
  const isBlock = uses.some(({ access }) => access === 'block')
  if (isBlock && uses.some(({ access }) => access === 'mount')) {
    throw new CsiError('INVALID_ARGUMENT', 'a volume is either mounted or a block device, not both')
  }
  if (isBlock) return undefined
  const named = new Set(uses.flatMap(({ filesystem }) => filesystem ?? []))
  const parameter = checkedFilesystem(parameters.fsType)
  if (parameter) named.add(parameter)
  if (named.size > 1)
    throw new CsiError('INVALID_ARGUMENT', `more than one filesystem was named: ${[...named].join(', ')}`)
  return [...named][0] ?? from?.filesystem ?? 'ext4'
}

function checkedFilesystem(type: string | undefined): FilesystemType | undefined {
  if (!type) return undefined
  const capability: VolumeCapability = {
    accessType: 'mount',
    mount: { fsType: type, mountFlags: [], volumeMountGroup: '' },
    accessMode: { mode: 'SINGLE_NODE_WRITER' },
  }
  const problem = capabilityProblem(capability)
  if (problem !== undefined) throw new CsiError('INVALID_ARGUMENT', `parameter fsType: ${problem}`)
  return type as FilesystemType
}

function annotationsOf(name: string, parameters: Texts): Texts {
  const [claim, namespace] = ['name', 'namespace'].map((part) => parameters[`${kubernetesPrefix}pvc/${part}`])
  return { [csiNameAnnotation]: name, ...(claim && namespace ? { 'carbonado.io/claim': `${namespace}/${claim}` } : {}) }
}

function wholeMebibytes(bytes: number): number {
  return Math.floor(bytes / 2 ** 20) * 2 ** 20
}
