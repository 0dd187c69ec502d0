import { existsSync, readFileSync } from 'node:fs'
import { exec, ExecError } from '../src/base/index.ts'
import { nodePlaces } from './places.ts'
import { insideMachine } from './processes.ts'
import { machinePid } from './state.ts'

/** The verbs of the CNI specification. */
export type CniCommand = 'ADD' | 'DEL' | 'CHECK' | 'GC' | 'STATUS' | 'VERSION'

/** A result of ADD, as of version 1.0 of the specification; other verbs answer with less or nothing. */
export interface CniResult {
  cniVersion: string
  interfaces?: { name: string; mac?: string; mtu?: number; sandbox?: string }[]
  ips?: { address: string; gateway?: string; interface?: number }[]
  routes?: { dst: string; gw?: string }[]
  dns?: object
}

/** The error object of the specification. */
export interface CniError {
  cniVersion?: string
  code: number
  msg: string
  details?: string
}

/** How a plugin answered. `result` is undefined where it printed nothing. */
export type CniOutcome =
  { ok: true; result: CniResult | undefined } | { ok: false; exitCode: number | null; error: CniError }

/** What a runtime would say; everything may be bent for tests of bad input. */
export interface CniRequest {
  containerId?: string
  /** Path inside the node. */
  netns?: string
  interfaceName?: string
  pod?: { namespace: string; name: string; uid?: string }
  annotations?: Record<string, string>
  prevResult?: unknown
  /** Put over the plugin's configuration; a value of undefined takes the field out. */
  configuration?: Record<string, unknown>
  /** Standard input as it is, in place of a configuration. */
  rawInput?: string | Buffer
  /** Put over the CNI_* variables; undefined takes one out. */
  environment?: Record<string, string | undefined>
  /** Path of the plugin in the node; absent: the one that the configuration's `type` names. */
  plugin?: string
  /** Milliseconds; 70 000 unless told. */
  deadline?: number
}

/** A configuration list as it lies in /etc/cni/net.d. */
export interface ConfigurationList {
  cniVersion: string
  name: string
  plugins: { type: string; capabilities?: Record<string, boolean>; [field: string]: unknown }[]
}

/** Capability under which containerd hands the annotations of a pod to plugins. */
export const annotationsCapability = 'io.kubernetes.cri.pod-annotations'

/** The list that the lab installs on each node. */
export const carbonadoConfigurationList: ConfigurationList = {
  cniVersion: '1.1.0',
  name: 'carbonado',
  plugins: [{ type: 'carbonado-cni', capabilities: { [annotationsCapability]: true } }],
}

/** Calls the CNI plugin on a node as a container runtime does. Throws only when it cannot be run at all. */
export async function callCni(node: string, command: CniCommand, request: CniRequest = {}): Promise<CniOutcome> {
  const pid = machinePid(node)
  const list = readConfigurationList(pid)
  const input = request.rawInput ?? JSON.stringify(pluginConfiguration(list, request))
  const plugin = request.plugin ?? `${nodePlaces.cniPlugins}/${list.plugins[0]!.type}`
  const env = { ...inheritedEnvironment(), ...cniEnvironment(command, request) }
  try {
    const deadline = request.deadline ?? 70_000
    const { stdout } = await exec(insideMachine(pid, [plugin]), { input, env, deadline })
    return { ok: true, result: stdout.trim() === '' ? undefined : (JSON.parse(stdout) as CniResult) }
  } catch (error) {
    if (error instanceof ExecError) return { ok: false, exitCode: error.exitCode, error: errorOf(error) }
    throw error
  }
}

/** What libcni makes of the first plugin of a list: name, version, runtimeConfig of its capabilities, prevResult. */
export function pluginConfiguration(list: ConfigurationList, request: CniRequest): Record<string, unknown> {
  const { capabilities, ...plugin } = list.plugins[0]!
  const wantsAnnotations = capabilities?.[annotationsCapability] === true && request.annotations !== undefined
  return {
    ...plugin,
    cniVersion: list.cniVersion,
    name: list.name,
    ...(capabilities ? { capabilities } : {}),
    ...(wantsAnnotations ? { runtimeConfig: { [annotationsCapability]: request.annotations } } : {}),
    ...(request.prevResult === undefined ? {} : { prevResult: request.prevResult }),
    ...request.configuration,
  }
}

/** The CNI_* variables of a call. */
export function cniEnvironment(command: CniCommand, request: CniRequest): Record<string, string | undefined> {
  return {
    CNI_COMMAND: command,
    CNI_PATH: nodePlaces.cniPlugins,
    CNI_CONTAINERID: request.containerId,
    CNI_NETNS: request.netns,
    CNI_IFNAME: request.containerId === undefined ? undefined : (request.interfaceName ?? 'eth0'),
    CNI_ARGS: request.pod === undefined ? undefined : podArguments(request.pod, request.containerId ?? ''),
    ...request.environment,
  }
}

function podArguments(pod: NonNullable<CniRequest['pod']>, containerId: string): string {
  const named = [
    ['IgnoreUnknown', '1'],
    ['K8S_POD_NAMESPACE', pod.namespace],
    ['K8S_POD_NAME', pod.name],
    ['K8S_POD_INFRA_CONTAINER_ID', containerId],
    ...(pod.uid === undefined ? [] : [['K8S_POD_UID', pod.uid]]),
  ]
  return named.map((pair) => pair.join('=')).join(';')
}

/** A node of a bare lab has none until a test writes one. */
function readConfigurationList(pid: number): ConfigurationList {
  const file = `/proc/${pid}/root${nodePlaces.cniConfiguration}`
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as ConfigurationList) : carbonadoConfigurationList
}

function inheritedEnvironment(): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('CNI_')))
}

/** A plugin that crashes or is killed prints no error object; then what it did print is the message. */
function errorOf(failure: ExecError): CniError {
  try {
    return JSON.parse(failure.stdout) as CniError
  } catch {
    return { code: 999, msg: failure.message }
  }
}
