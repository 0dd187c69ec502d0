import { isIP } from 'node:net'
import { namePattern } from '../../api/index.ts'
import type { AddRequest, ContainerInterface, Pod } from '../attachments/wish.ts'
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
import { checkWish, isWishKey, type Wished } from './wish-object.ts'
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
  const wishes = parseWishes(configuration, container.interfaceName, pod?.name)
  return {
    verb: 'ADD',
    version,
    add: wishes && { ...container, netns, ...(pod ? { pod } : {}), ...wishes },
    previous: configuration.prevResult,
    dns: configuration.dns,
  }
}

/**
 * The interface that runtimes give every pod. The annotations of the pod are about it and what comes with it; an ADD of
 * any other name, such as Multus sends, is about that interface alone.
 */
const primaryInterface = 'eth0'

/** What is wished for the interface and its children; undefined for a pod that wants none. */
type Wishes = Pick<AddRequest, 'wish' | 'metric' | 'children' | 'isAdditional'> | undefined

function parseWishes(configuration: NetworkConfiguration, interfaceName: string, podName: string | undefined): Wishes {
  if (interfaceName !== primaryInterface) return { ...additionalWish(configuration, podName), isAdditional: true }
  const annotated = parseAnnotations(configuration.runtimeConfig?.[annotationsCapability] ?? {}, podName)
  if (annotated === 'none') return undefined
  const [first, ...others] = annotated ?? [noWish]
  const children = others.map((each, index) => ({ interfaceName: `eth${index + 1}`, ...filledUp(each, configuration) }))
  const primary = withRequested(filledUp(first, configuration), configuration)
  return { ...primary, ...(children.length > 0 ? { children } : {}) }
}

const noWish: Wished = { wish: { kind: 'dynamic' } }

/** Multus puts the `cni-args` of a pod's network selection into args.cni, among those of others. */
function additionalWish(configuration: NetworkConfiguration, podName: string | undefined): Wished {
  const { args } = configuration
  const own = isRecord(args) && isRecord(args.cni) ? Object.entries(args.cni).filter(([key]) => isWishKey(key)) : []
  const wished = checkWish(Object.fromEntries(own), 'args.cni', podName)
  return withRequested(filledUp(wished, configuration), configuration)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Network and tier of the network configuration are for wishes that do not say otherwise. */
function filledUp({ wish, ...rest }: Wished, configuration: NetworkConfiguration): Wished {
  if (wish.kind !== 'dynamic') return { wish, ...rest }
  const networkName = wish.networkName ?? (wish.networkGroup === undefined ? configuration.network : undefined)
  return { wish: { ...wish, networkName, perfTierName: wish.perfTierName ?? configuration.perfTier }, ...rest }
}

/** Addresses and MAC that the runtime asks for by the capabilities `ips` and `mac`. */
function withRequested({ wish, ...rest }: Wished, { runtimeConfig }: NetworkConfiguration): Wished {
  const addresses = runtimeConfig?.ips?.map(requestedAddress) ?? []
  const macAddress = runtimeConfig?.mac?.toLowerCase()
  if (addresses.length === 0 && macAddress === undefined) return { wish, ...rest }
  if (wish.kind !== 'dynamic') {
    throw invalidConfiguration(
      'runtimeConfig has ips or mac beside a static endpoint, which has its own',
      'Leave them out, or ask for a network instead of a static endpoint.',
    )
  }
  if (macAddress !== undefined && !/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(macAddress)) {
    throw invalidConfiguration(
      `runtimeConfig.mac is ${describeValue(macAddress)}, expected a MAC address`,
      'Write it like 02:00:00:00:00:01.',
    )
  }
  const requested = { ...(addresses.length > 0 ? { addresses } : {}), ...(macAddress ? { macAddress } : {}) }
  return { wish: { ...wish, ...requested }, ...rest }
}

/** The prefix length is the network's, whatever the runtime says. */
function requestedAddress(text: string): string {
  const address = text.split('/')[0]!
  if (isIP(address) !== 0 && !address.includes('%')) return address
  throw invalidConfiguration(
    `runtimeConfig.ips has ${describeValue(text)}, expected an IP address`,
    'Write it like 10.30.0.50 or 10.30.0.50/24.',
  )
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
