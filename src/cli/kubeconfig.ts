import { readFileSync } from 'node:fs'
import { dirname, isAbsolute, join } from 'node:path'
import { parse } from 'yaml'
import { InvalidInput } from '../base/index.ts'

/** What of a kubeconfig is needed to speak to the API server of its current context. */
export interface KubeconfigAccess {
  /** `https://HOST:PORT`. */
  server: string
  ca?: string
  token?: string
  clientCertificate?: string
  clientKey?: string
  insecure: boolean
}

interface Kubeconfig {
  'current-context'?: string
  contexts?: { name: string; context?: { cluster?: string; user?: string } }[]
  clusters?: { name: string; cluster?: Record<string, unknown> }[]
  users?: { name: string; user?: Record<string, unknown> }[]
}

/** The first file that $KUBECONFIG names; undefined when it names none. */
export function kubeconfigFile(environment: Record<string, string | undefined>): string | undefined {
  return environment.KUBECONFIG?.split(':').find((file) => file !== '')
}

/** Reads the current context of a kubeconfig. Throws InvalidInput that names what is missing or cannot be used. */
export function readKubeconfig(file: string): KubeconfigAccess {
  const wrong = (problem: string, remedy = 'Check it with: kubectl config view'): InvalidInput =>
    new InvalidInput(`the kubeconfig ${file} ${problem}`, { remedy })
  const config = parsed(file, wrong)
  const contextName = config['current-context']
  const context = config.contexts?.find(({ name }) => name === contextName)?.context
  if (!context) throw wrong('has no current context', 'Choose one with: kubectl config use-context NAME')
  const cluster = config.clusters?.find(({ name }) => name === context.cluster)?.cluster
  if (!cluster || typeof cluster.server !== 'string') throw wrong(`names no server for its context "${contextName}"`)
  const user = config.users?.find(({ name }) => name === context.user)?.user ?? {}
  if (user.exec ?? user['auth-provider']) {
    throw wrong(
      `has its user "${context.user}" signed in by another program, which dctl does not start`,
      'Use a token or a client certificate, or: DCTL_TOKEN=$(kubectl create token ...) dctl -s SERVER --ca-cert FILE',
    )
  }
  const { content } = contents(file, wrong)
  const tokenFile = user.tokenFile as string | undefined
  return {
    server: cluster.server,
    ca: content(cluster, 'certificate-authority'),
    token: (user.token as string | undefined) ?? (tokenFile === undefined ? undefined : content(user, 'tokenFile')?.trim()),
    clientCertificate: content(user, 'client-certificate'),
    clientKey: content(user, 'client-key'),
    insecure: cluster['insecure-skip-tls-verify'] === true,
  } // prettier-ignore
}

type Wrong = (problem: string, remedy?: string) => InvalidInput

function parsed(file: string, wrong: Wrong): Kubeconfig {
  let value: unknown
  try {
    value = parse(readFileSync(file, 'utf8'))
  } catch (error) {
    throw wrong(`cannot be read: ${(error as Error).message.split('\n')[0]}`)
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw wrong('is not a kubeconfig')
}

/** Reads what stands in a kubeconfig itself, as `NAME-data` in base64, or in a file of its own. */
function contents(
  file: string,
  wrong: Wrong,
): { content: (part: Record<string, unknown>, name: string) => string | undefined } {
  return {
    content(part, name) {
      const data = part[`${name}-data`]
      if (typeof data === 'string') return Buffer.from(data, 'base64').toString()
      const path = part[name]
      if (typeof path !== 'string') return undefined
      try {
        return readFileSync(isAbsolute(path) ? path : join(dirname(file), path), 'utf8')
      } catch (error) {
        throw wrong(`names the ${name} ${path}, which cannot be read: ${(error as Error).message}`)
      }
    },
  }
}
