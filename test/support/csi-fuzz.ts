import { status } from '@grpc/grpc-js'
import type { MethodDefinition, ServiceDefinition } from '@grpc/proto-loader'
import { expect } from 'vitest'
import type { CsiClient } from '../../lab/csi-client.ts'
import type { Lab } from '../../lab/index.ts'
import { agentProgram } from '../../lab/programs.ts'
import { programStates } from '../../lab/state.ts'
import { csiDefinition } from '../../src/storage/csi/index.ts'
import { seededRandom, type Random } from './random.ts'
import { expectRunning } from './still-running.ts'
import { takeVolumesAway } from './volume-storm.ts'

/** What came of it. */
export interface CsiFuzzTally {
  calls: number
  /** Names of the codes that were answered. */
  codes: string[]
}

const texts = ['', 'v1', 'x'.repeat(130), '../../etc/passwd', '/run/csi/v1/target', '/', 'ä\u0000\n', '{{7*7}}', '%s%n', 'after:zzz', '日本語', `x${'💾'.repeat(70)}`, '-', '.', 'n1', 'ext4', 'xfs'] // prettier-ignore
const numbers = [0, -1, 1, 2 ** 20, 2 ** 31, 2 ** 53, 2 ** 62, -(2 ** 62)]
const modes = ['UNKNOWN', 'SINGLE_NODE_WRITER', 'MULTI_NODE_MULTI_WRITER', 'SINGLE_NODE_READER_ONLY', 99]
const keys = [
  'perfTier',
  'fsType',
  'mirrorCount',
  'encrypted',
  'csi.storage.k8s.io/pvc/name',
  '__proto__',
  'constructor',
]

/**
 * Sends hostile messages to a CSI socket: well-formed ones with values that nobody should send, the same with bytes
 * changed, cut off or repeated, and bytes of chance. Each must be answered, and afterwards the agent serves as before.
 */
export async function fuzzCsi(csi: CsiClient, lab: Lab, node: string, calls: number): Promise<CsiFuzzTally> {
  const random = seededRandom()
  console.log(`${calls} CSI messages: CARBONADO_SEED=${random.seed}`)
  const methods = methodsOfCsi()
  const codes = new Set<string>()
  expectRunning(agentProgram(node))
  const before = programStates.get(agentProgram(node))
  let left = calls
  const send = async (own: Random): Promise<void> => {
    for (; left > 0;) {
      left -= 1
      const method = own.pick(methods)
      const code = await csi.callRaw(method.path, damaged(method.requestSerialize(hostile(own)), own))
      codes.add(status[code] ?? String(code))
    }
  }
  await Promise.all(Array.from({ length: 8 }, (_, number) => send(random.fork(number))))
  expectRunning(agentProgram(node))
  expect(programStates.get(agentProgram(node)), 'the agent is still the same').toEqual(before)
  await takeVolumesAway(lab)
  return { calls, codes: [...codes].sort() }
}

function methodsOfCsi(): MethodDefinition<object, object>[] {
  return Object.values(csiDefinition()).flatMap((service) =>
    'format' in service ? [] : (Object.values(service as ServiceDefinition) as MethodDefinition<object, object>[]),
  )
}

/** Values for the fields of all requests; each message takes those that it has. */
function hostile(random: Random): object {
  const text = (): string => random.pick(texts)
  const map = (): object =>
    Object.fromEntries(Array.from({ length: random.below(4) }, () => [random.pick(keys), text()]))
  const number = (): number => random.pick(numbers)
  const capability = (): object => ({
    accessMode: random.chance(0.9) ? { mode: random.pick(modes) } : undefined,
    ...(random.chance(0.3) ? { block: {} } : { mount: { fsType: text(), mountFlags: [text(), text()] } }),
  })
  const topology = (): object => ({ segments: { 'topology.carbonado.io/node': text() } })
  return {
    name: text(),
    volumeId: text(),
    nodeId: text(),
    snapshotId: text(),
    sourceVolumeId: text(),
    sourceVolumeIds: [text(), text()],
    snapshotIds: [text()],
    groupSnapshotId: text(),
    startingToken: text(),
    maxEntries: random.pick([0, -1, 1, 2 ** 31 - 1]),
    stagingTargetPath: text(),
    targetPath: text(),
    volumePath: text(),
    readonly: random.chance(0.5),
    capacityRange: random.chance(0.8) ? { requiredBytes: number(), limitBytes: number() } : undefined,
    volumeCapability: random.chance(0.8) ? capability() : undefined,
    volumeCapabilities: Array.from({ length: random.below(3) }, capability),
    parameters: map(),
    mutableParameters: map(),
    secrets: map(),
    volumeContext: map(),
    publishContext: map(),
    ...(random.chance(0.3) ? { volumeContentSource: { snapshot: { snapshotId: text() } } } : {}),
    ...(random.chance(0.3) ? { accessibilityRequirements: { requisite: [topology()], preferred: [topology()] } } : {}),
    ...(random.chance(0.3) ? { accessibleTopology: topology() } : {}),
  }
}

function damaged(bytes: Buffer, random: Random): Buffer {
  const copy = Buffer.from(bytes)
  switch (random.below(5)) {
    case 0:
      return copy.subarray(0, random.below(copy.length + 1))
    case 1:
      for (let times = 1 + random.below(4); times > 0 && copy.length > 0; times -= 1) {
        copy[random.below(copy.length)] = random.below(256)
      }
      return copy
    case 2:
      return Buffer.concat([copy, copy])
    case 3:
      return Buffer.from(Array.from({ length: random.below(200) }, () => random.below(256)))
    default:
      return copy
  }
}
