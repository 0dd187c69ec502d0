import { namePattern } from '../../api/index.ts'
import type { AddRequest, ContainerInterface, EndpointWish, Pod } from '../attachments/wish.ts'
import { parseAnnotations } from './annotations.ts'
import {
  annotationsCapability,
  checkConfiguration,
  refuseUnknownFields,
  type Dns,
  type NetworkConfiguration,
  type PreviousResult,
} from './configuration.ts'
import { describeValue, invalidConfiguration, invalidEnvironment } from './refusals.ts'
import { isSupportedVersion, requireVerb, requireVersion, type CniVersion } from './versions.ts'

/** The CNI_ variables of one call. */
export type CniEnvironment = ReadonlyMap<string, string>

/** One call of a runtime, checked. */
export type CniRequest =
  | { verb: 'VERSION'; version: CniVersion }
  | {
      verb: 'ADD'
      version: CniVersion
      /** Undefined when the pod wants no interface. */
      add: AddRequest | undefined
      previous?: PreviousResult
      dns?: Dns
    }
  | { verb: 'DEL'; version: CniVersion; container: ContainerInterface }
  | { verb: 'CHECK'; version: CniVersion; container: ContainerInterface; netns: string; previous: PreviousResult }
  | {
      verb: 'GC'
      version: CniVersion
      cniNetwork: string
      /** The attachments that stay. */
      valid: { containerId: string; interfaceName: string }[]
    }
  | { verb: 'STATUS'; version: CniVersion }

const verbs = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'] as const

/**
 * Turns the environment and the decoded configuration of a call into a request. Throws InvalidInput whose
 * `details.cniCode` is the code of the specification.
 */
export function parseRequest(environment: CniEnvironment, decoded: Record<string, unknown>): CniRequest {
  const verb = verbs.find((candidate) => candidate === environment.get('CNI_COMMAND'))
  if (!verb) {
    throw invalidEnvironment(
      `CNI_COMMAND is ${describeValue(environment.get('CNI_COMMAND'))}, expected one of ${verbs.join(', ')}`,
      'Set CNI_COMMAND.',
    )
  }
  if (verb === 'VERSION')
    return { verb, version: isSupportedVersion(decoded.cniVersion) ? decoded.cniVersion : '1.1.0' }
  const version = requireVersion(decoded.cniVersion)
  requireVerb(verb, version)
  const configuration = checkConfiguration(decoded)
  switch (verb) {
    case 'ADD':
      refuseUnknownFields(decoded)
      return parseAdd(version, environment, configuration)
    case 'DEL':
      return { verb, version, container: containerInterface(environment, configuration) }
    case 'CHECK':
      return parseCheck(version, environment, configuration)
    case 'GC':
      return parseGarbageCollection(version, configuration)
    case 'STATUS':
      return { verb, version }
  }
}

function parseAdd(
  version: CniVersion,
  environment: CniEnvironment,
  configuration: NetworkConfiguration,
): CniRequest & { verb: 'ADD' } {
  const container = containerInterface(environment, configuration)
  const netns = requireNetns(environment)
  const pod = parsePod(environment.get('CNI_ARGS') ?? '')
  const wish = parseWish(configuration)
  return {
    verb: 'ADD',
    version,
    add: wish && { ...container, netns, ...(pod ? { pod } : {}), wish },
    previous: configuration.prevResult,
    dns: configuration.dns,
  }
}

/** What the annotations ask for, filled up with the defaults of the network configuration. */
function parseWish(configuration: NetworkConfiguration): EndpointWish | undefined {
  const annotated = parseAnnotations(configuration.runtimeConfig?.[annotationsCapability] ?? {})
  if (annotated?.kind === 'none') return undefined
  if (annotated?.kind === 'static') return annotated
  return {
    kind: 'dynamic',
    networkName: annotated?.networkName ?? configuration.network,
    perfTierName: annotated?.perfTierName ?? configuration.perfTier,
  }
}

function parseCheck(
  version: CniVersion,
  environment: CniEnvironment,
  configuration: NetworkConfiguration,
): CniRequest & { verb: 'CHECK' } {
  const container = containerInterface(environment, configuration)
  const netns = requireNetns(environment)
  if (!configuration.prevResult) {
    throw invalidConfiguration('CHECK needs prevResult', 'Give the result of the ADD as prevResult.')
  }
  return { verb: 'CHECK', version, container, netns, previous: configuration.prevResult }
}

/** A list that is not there must never mean that nothing is valid. */
function parseGarbageCollection(version: CniVersion, configuration: NetworkConfiguration): CniRequest {
  const listed = configuration['cni.dev/valid-attachments'] ?? configuration['cni.dev/attachments']
  if (!listed) {
    throw invalidConfiguration(
      'GC needs cni.dev/valid-attachments',
      'Give the list of attachments that stay; an empty list when none does.',
    )
  }
  const valid = listed.map(({ containerID, ifname }) => ({ containerId: containerID, interfaceName: ifname }))
  return { verb: 'GC', version, cniNetwork: configuration.name, valid }
}

function containerInterface(environment: CniEnvironment, { name }: NetworkConfiguration): ContainerInterface {
  return {
    cniNetwork: name,
    containerId: requireContainerId(environment.get('CNI_CONTAINERID')),
    interfaceName: requireInterfaceName(environment.get('CNI_IFNAME')),
  }
}

function requireContainerId(value: string | undefined): string {
  if (value && value.length <= 256 && /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(value)) return value
  throw invalidEnvironment(
    `CNI_CONTAINERID is ${describeValue(value)}, expected up to 256 letters, digits, "_", "." and "-", the first a ` +
      'letter or digit',
    'Set CNI_CONTAINERID to the id of the container.',
  )
}

/** Names that mean something else to the kernel. */
const reservedInterfaceNames = ['.', '..', 'lo', 'all', 'default']

/** "%" makes the kernel number interfaces and a leading "-" makes an option of the name. */
function requireInterfaceName(value: string | undefined): string {
  if (value && /^(?!-)[!-~]{1,15}$/.test(value) && !/[/:%]/.test(value) && !reservedInterfaceNames.includes(value)) {
    return value
  }
  throw invalidEnvironment(
    `CNI_IFNAME is ${describeValue(value)}, expected 1 to 15 printable ASCII characters without "/", ":" and "%"`,
    'Set CNI_IFNAME to a name such as eth0.',
  )
}

function requireNetns(environment: CniEnvironment): string {
  const value = environment.get('CNI_NETNS')
  if (value && value.startsWith('/') && value.length < 4096) return value
  throw invalidEnvironment(
    `CNI_NETNS is ${describeValue(value)}, expected the absolute path of a network namespace`,
    'Set CNI_NETNS to a path such as /run/netns/NAME or /proc/PID/ns/net.',
  )
}

const objectName = new RegExp(namePattern)

/** Reads the pod from CNI_ARGS (`K8S_POD_NAMESPACE=a;K8S_POD_NAME=b`); other arguments are for other plugins. */
function parsePod(text: string): Pod | undefined {
  const values = new Map<string, string>()
  for (const pair of text.split(';').filter((part) => part !== '')) {
    const [key, ...rest] = pair.split('=')
    if (!key || rest.length === 0) {
      throw invalidEnvironment(`CNI_ARGS has ${describeValue(pair)}, expected KEY=VALUE`, 'Separate pairs with ";".')
    }
    values.set(key, rest.join('='))
  }
  const [namespace, name] = [values.get('K8S_POD_NAMESPACE'), values.get('K8S_POD_NAME')]
  if (!namespace && !name) return undefined
  if (!namespace || namespace.length > 63 || !objectName.test(namespace))
    throw badArgument('K8S_POD_NAMESPACE', namespace)
  if (!name || name.length > 253 || !objectName.test(name)) throw badArgument('K8S_POD_NAME', name)
  const uid = values.get('K8S_POD_UID')
  return { namespace, name, ...(uid ? { uid } : {}) }
}

function badArgument(key: string, value: string | undefined): Error {
  return invalidEnvironment(
    `CNI_ARGS has ${key} ${describeValue(value)}, expected the name of a Kubernetes object`,
    'Names are lower-case letters, digits, dashes and dots.',
  )
}
