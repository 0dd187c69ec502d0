import { Type, type Static } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { namePattern } from '../../api/index.ts'
import { describeValue, invalidConfiguration, undecodable, unsupportedField } from './refusals.ts'
import { fallbackVersion, isSupportedVersion } from './versions.ts'

const Attachments = Type.Array(Type.Object({ containerID: Type.String(), ifname: Type.String() }))

const Dns = Type.Object({
  nameservers: Type.Optional(Type.Array(Type.String())),
  domain: Type.Optional(Type.String()),
  search: Type.Optional(Type.Array(Type.String())),
  options: Type.Optional(Type.Array(Type.String())),
})
export type Dns = Static<typeof Dns>

/** The result of an ADD as it comes back in `prevResult`; only what the plugin looks at or passes on. */
export const PreviousResult = Type.Object({
  interfaces: Type.Optional(
    Type.Array(
      Type.Object({ name: Type.String(), mac: Type.Optional(Type.String()), sandbox: Type.Optional(Type.String()) }),
    ),
  ),
  ips: Type.Optional(
    Type.Array(
      Type.Object({
        address: Type.String(),
        gateway: Type.Optional(Type.String()),
        interface: Type.Optional(Type.Integer()),
      }),
    ),
  ),
  routes: Type.Optional(Type.Array(Type.Object({ dst: Type.String(), gw: Type.Optional(Type.String()) }))),
  dns: Type.Optional(Dns),
})
export type PreviousResult = Static<typeof PreviousResult>

/** Where containerd and CRI-O put the annotations of the pod. */
export const annotationsCapability = 'io.kubernetes.cri.pod-annotations'

const objectName = Type.String({ pattern: namePattern, maxLength: 253 })

const NetworkConfiguration = Type.Object({
  cniVersion: Type.Optional(Type.String()),
  /** Names the CNI network, not a Network of Carbonado. */
  name: Type.String({ pattern: '^[a-zA-Z0-9][a-zA-Z0-9_.-]*$', maxLength: 253 }),
  type: Type.Optional(Type.String()),
  /** Network and tier of containers that do not say otherwise. */
  network: Type.Optional(objectName),
  perfTier: Type.Optional(objectName),
  runtimeConfig: Type.Optional(
    Type.Object({
      [annotationsCapability]: Type.Optional(Type.Union([Type.Record(Type.String(), Type.String()), Type.Null()])),
      /** Capabilities of the specification's conventions: addresses, with or without prefix length, and MAC wished for. */
      ips: Type.Optional(Type.Array(Type.String(), { maxItems: 2 })),
      mac: Type.Optional(Type.String()),
    }),
  ),
  /** Arguments for any plugin; `args.cni` has those by which Multus passes what a pod says about one interface. */
  args: Type.Optional(Type.Unknown()),
  dns: Type.Optional(Dns),
  prevResult: Type.Optional(PreviousResult),
  'cni.dev/valid-attachments': Type.Optional(Attachments),
  'cni.dev/attachments': Type.Optional(Attachments),
})
export type NetworkConfiguration = Static<typeof NetworkConfiguration>

const check = TypeCompiler.Compile(NetworkConfiguration)

/** Fields that the specification or the runtimes put there and that need nothing from the plugin. */
const fieldsOfOthers = ['cniVersions', 'capabilities', 'disableCheck', 'disableGC', 'ipMasq', 'loadOnlyInlinedPlugins']

/** Decodes standard input. Throws InvalidInput with CNI code 6 unless it is one JSON object. */
export function decodeInput(input: Uint8Array): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(input))
  } catch (error) {
    throw undecodable(`the network configuration is not JSON: ${(error as Error).message}`)
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw undecodable(`the network configuration is ${describeValue(value)}, expected a JSON object`)
}

/** The version to write an error in when the request may be wrong in any way. */
export function versionForErrors(decoded: Record<string, unknown> | undefined): string {
  const version = decoded?.cniVersion
  return isSupportedVersion(version) ? version : fallbackVersion
}

/** Checks the shape of a network configuration. Throws InvalidInput with CNI code 7 that names the wrong fields. */
export function checkConfiguration(decoded: Record<string, unknown>): NetworkConfiguration {
  if (check.Check(decoded)) return decoded
  const problems = [...take(check.Errors(decoded), 3)].map(
    (error) => `${error.path.slice(1).replaceAll('/', '.')}: ${error.message}, got ${describeValue(error.value)}`,
  )
  throw invalidConfiguration(`the network configuration is not valid: ${problems.join('; ')}`, 'Correct the fields.')
}

/** Throws InvalidInput with CNI code 2 for a field nobody knows: a misspelt field must not be ignored silently. */
export function refuseUnknownFields(decoded: Record<string, unknown>): void {
  const known = [...Object.keys(NetworkConfiguration.properties), ...fieldsOfOthers]
  const unknown = Object.keys(decoded).filter((field) => !known.includes(field) && !field.startsWith('cni.dev/'))
  if (unknown.includes('ipam') && isEmptyObject(decoded.ipam)) unknown.splice(unknown.indexOf('ipam'), 1)
  if (unknown.length === 0) return
  throw unsupportedField(
    `the network configuration has the unknown field ${unknown.slice(0, 5).map(describeValue).join(', ')}`,
    unknown.includes('ipam')
      ? 'Remove ipam: addresses come from the Network that "network" or the pod annotation names.'
      : 'Remove it, or correct its spelling; Carbonado knows "network" and "perfTier" beside those of the specification.',
  )
}

function isEmptyObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0
}

function* take<T>(values: Iterable<T>, count: number): Generator<T> {
  let taken = 0
  for (const value of values) {
    if (taken++ === count) return
    yield value
  }
}
