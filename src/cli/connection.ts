import { readFileSync } from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'
import { InvalidInput } from '../base/index.ts'
import type { GlobalOptions } from './global-flags.ts'
import { kubeconfigFile, readKubeconfig } from './kubeconfig.ts'

/** How to reach control and as whom. */
export interface Connection {
  /** `https://HOST:PORT` or `unix:///path`. */
  server: string
  /** PEM text of the authorities that the server's certificate is checked against; absent: those of the system. */
  ca?: string
  token?: string
  /** PEM text of a certificate, with its key, that says who asks. */
  clientCertificate?: string
  clientKey?: string
  /** Do not check the server's certificate. */
  insecure: boolean
  /** Milliseconds to wait for an answer. */
  timeout: number
}

/** The configuration file of dctl. A relative `caFile` is taken from the folder of the file. */
export interface DctlConfig {
  server?: string
  caFile?: string
  token?: string
}

/** Port of control where a server is given as a host alone. */
const defaultPort = 7443

/** Where dctl looks for its configuration when none is named, in this order; the last is what `dctl lab up` writes. */
export function configCandidates(environment: Record<string, string | undefined>): string[] {
  const home = environment.XDG_CONFIG_HOME ?? join(environment.HOME ?? '/root', '.config')
  return [join(home, 'carbonado', 'dctl.json'), '/run/carbonado-lab/dctl.json']
}

/**
 * Puts flags, environment and configuration file together; flags win, then $VIRTUAL_IP, then the file.
 * The token of the file goes only to the server of the file, so that it is not given to another one by mistake.
 * A kubeconfig that $KUBECONFIG names is used when neither a flag, nor $VIRTUAL_IP, nor $DCTL_CONFIG names anything else.
 * Throws InvalidInput when no server is known.
 */
export function resolveConnection(options: GlobalOptions, environment: Record<string, string | undefined>): Connection {
  const kubeconfig = kubeconfigFile(environment)
  const isNamed =
    options.server ?? nonEmpty(environment.VIRTUAL_IP) ?? options.dctlconfig ?? nonEmpty(environment.DCTL_CONFIG)
  if (kubeconfig !== undefined && isNamed === undefined) return ofKubeconfig(kubeconfig, options, environment)
  const config = readConfig(options, environment)
  const named = options.server ?? nonEmpty(environment.VIRTUAL_IP)
  const server = named === undefined ? config?.server : normalizeServer(named)
  if (server === undefined) throw noServer(environment)
  const ownServer = config?.server === undefined || server === normalizeServer(config.server)
  const caFile = options.caCert ?? config?.caFile
  return {
    server: normalizeServer(server),
    ca: caFile === undefined ? undefined : readText(caFile, 'certificate authority'),
    token: nonEmpty(environment.DCTL_TOKEN) ?? (ownServer ? config?.token : undefined),
    insecure: options.insecure ?? false,
    timeout: options.timeout,
  }
}

function ofKubeconfig(
  file: string,
  options: GlobalOptions,
  environment: Record<string, string | undefined>,
): Connection {
  const access = readKubeconfig(file)
  return {
    ...access,
    ca: options.caCert === undefined ? access.ca : readText(options.caCert, 'certificate authority'),
    token: nonEmpty(environment.DCTL_TOKEN) ?? access.token,
    insecure: options.insecure ?? access.insecure,
    timeout: options.timeout,
  }
}

/** What the configuration file that applies holds, with absolute paths; undefined when there is none. */
export function readConfig(
  options: GlobalOptions,
  environment: Record<string, string | undefined>,
): DctlConfig | undefined {
  return findConfig(options, environment)?.config
}

/** The configuration file that applies, and what it holds. Throws InvalidInput for one that is named and unusable. */
export function findConfig(
  options: GlobalOptions,
  environment: Record<string, string | undefined>,
): { file: string; config: DctlConfig } | undefined {
  const named = options.dctlconfig ?? nonEmpty(environment.DCTL_CONFIG)
  if (named !== undefined) return { file: named, config: parseConfig(named, readText(named, 'dctl configuration')) }
  for (const file of configCandidates(environment)) {
    const text = readIfThere(file)
    if (text !== undefined) return { file, config: parseConfig(file, text) }
  }
  return undefined
}

/** Checks the text of a configuration file. Unknown keys are errors, so that a misspelt one is noticed. */
export function parseConfig(file: string, text: string): DctlConfig {
  const wrong = (problem: string): InvalidInput =>
    new InvalidInput(`${file} ${problem}`, {
      remedy:
        'It holds one JSON object such as {"server": "https://10.0.0.1:7443", "caFile": "ca.pem", "token": "..."}.',
    })
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    throw wrong('is not JSON')
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw wrong('is not a JSON object')
  for (const [key, value] of Object.entries(parsed)) {
    if (!['server', 'caFile', 'token'].includes(key)) throw wrong(`has the unknown key "${key}"`)
    if (typeof value !== 'string') throw wrong(`has a value for "${key}" that is not text`)
  }
  const config = parsed as DctlConfig
  const caFile = config.caFile
  return { ...config, caFile: caFile === undefined || isAbsolute(caFile) ? caFile : join(dirname(file), caFile) }
}

/** Makes a URL of what the user wrote: a host, host:port or URL. Throws InvalidInput. */
export function normalizeServer(server: string): string {
  if (/^unix:\/\/\/./.test(server)) return server
  const url = URL.parse(server.includes('://') ? server : `https://${bracketed(server)}`)
  if (!url || url.protocol !== 'https:' || url.hostname === '' || url.pathname !== '/' || url.username !== '') {
    throw new InvalidInput(`server "${server}" is not an address of control`, {
      remedy: 'Write HOST, HOST:PORT, https://HOST:PORT or unix:///path/to/control.sock.',
    })
  }
  const hasPort = url.port !== '' || /:443\/?$/.test(server)
  return `https://${url.hostname}:${hasPort ? url.port || '443' : defaultPort}`
}

function bracketed(host: string): string {
  return host.split(':').length > 2 && !host.startsWith('[') ? `[${host}]` : host
}

function noServer(environment: Record<string, string | undefined>): InvalidInput {
  return new InvalidInput('no server is known', {
    remedy:
      'Name it with -s HOST or $VIRTUAL_IP, or sign in once with `dctl login`, or start a lab with `dctl lab up`. ' +
      `Looked for a configuration in ${configCandidates(environment).join(' and ')}.`,
  })
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === '' ? undefined : value
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || (error as NodeJS.ErrnoException).code === 'ENOTDIR') {
      return undefined
    }
    throw unreadable(file, 'dctl configuration', error)
  }
}

function readText(file: string, what: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw unreadable(file, what, error)
  }
}

function unreadable(file: string, what: string, error: unknown): InvalidInput {
  return new InvalidInput(`the ${what} file ${file} cannot be read: ${(error as Error).message}`, {
    remedy: 'Check the path and that you may read it.',
    cause: error,
  })
}
