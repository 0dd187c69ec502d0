import type { FastifyRequest } from 'fastify'
import { InvalidInput } from '../base/index.ts'
import type { ListOptions } from '../store/index.ts'

/** What a list or watch request asks for. */
export interface ListQuery {
  list: ListOptions
  watch: boolean
  resourceVersion: string | undefined
  allowBookmarks: boolean
  /** Seconds until the server ends the watch; undefined: the server chooses. */
  timeoutSeconds: number | undefined
}

/** Reads the query of a list or watch. Throws InvalidInput for values that make no sense. */
export function listQueryOf(request: FastifyRequest, namespace: string | undefined): ListQuery {
  const parameter = reader(request)
  const labelSelector = parameter('labelSelector')
  const fieldSelector = parameter('fieldSelector')
  const limit = wholeNumber('limit', parameter('limit'))
  return {
    list: {
      ...(namespace === undefined ? {} : { namespace }),
      ...(labelSelector ? { labelSelector } : {}),
      ...(fieldSelector ? { fieldSelector } : {}),
      ...(limit ? { limit } : {}),
      ...(parameter('continue') ? { continue: parameter('continue') } : {}),
    },
    watch: flag('watch', parameter('watch')),
    resourceVersion: checkedVersion(parameter('resourceVersion')),
    allowBookmarks: flag('allowWatchBookmarks', parameter('allowWatchBookmarks')),
    timeoutSeconds: wholeNumber('timeoutSeconds', parameter('timeoutSeconds')),
  }
}

/** Refuses what would change the meaning of a write but is not built. Throws InvalidInput. */
export function refuseDryRun(request: FastifyRequest): void {
  if (reader(request)('dryRun') === undefined) return
  throw new InvalidInput('dryRun is not supported', { remedy: 'Leave dryRun out; with kubectl, use --dry-run=client.' })
}

function reader(request: FastifyRequest): (name: string) => string | undefined {
  const query = request.query as Record<string, string | string[] | undefined>
  return (name) => {
    const value = query[name]
    if (!Array.isArray(value)) return value
    throw new InvalidInput(`The query parameter ${name} is given more than once`, { remedy: 'Give it once.' })
  }
}

function wholeNumber(name: string, value: string | undefined): number | undefined {
  if (value === undefined || value === '') return undefined
  if (/^\d{1,9}$/.test(value)) return Number(value)
  throw new InvalidInput(`The query parameter ${name} is "${value.slice(0, 40)}", expected a whole number`, {
    remedy: `Correct ${name}.`,
  })
}

function flag(name: string, value: string | undefined): boolean {
  if (value === undefined || value === 'false' || value === '0') return false
  if (value === 'true' || value === '1' || value === '') return true
  throw new InvalidInput(`The query parameter ${name} is "${value.slice(0, 40)}", expected true or false`, {
    remedy: `Correct ${name}.`,
  })
}

function checkedVersion(value: string | undefined): string | undefined {
  if (value === undefined || value === '') return undefined
  if (/^\d{1,16}$/.test(value)) return value
  throw new InvalidInput(`resourceVersion "${value.slice(0, 40)}" is not valid`, {
    remedy: 'Use a resourceVersion that a list, an object or a bookmark carried.',
  })
}
