import { apiVersionOf, type KindDefinition } from '../../api/index.ts'
import { InvalidInput } from '../../base/index.ts'

/** Where the objects of a kind are: `/apis/GROUP/VERSION[/namespaces/NAMESPACE]/PLURAL`, of the core group `/api/v1/...`. */
export function collectionPath(kind: KindDefinition, namespace?: string): string {
  const scope = namespace === undefined ? '' : `namespaces/${segment(namespace)}/`
  return `/${kind.group === '' ? 'api' : 'apis'}/${apiVersionOf(kind)}/${scope}${kind.plural}`
}

/** Where one object is. Throws InvalidInput when the namespace is missing or the name cannot stand in a path. */
export function objectPath(kind: KindDefinition, name: string, namespace: string | undefined): string {
  if (kind.namespaced !== (namespace !== undefined)) {
    throw new InvalidInput(`${kind.kind} "${name}" ${kind.namespaced ? 'needs a' : 'is not in a'} namespace`, {
      remedy: kind.namespaced ? 'Name a namespace.' : 'Leave the namespace out.',
    })
  }
  return `${collectionPath(kind, namespace)}/${segment(name)}`
}

/** A query string of what is defined, with its `?`; empty when nothing is. */
export function queryString(parameters: Record<string, string | number | boolean | undefined>): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== '')
  if (given.length === 0) return ''
  return `?${new URLSearchParams(given.map(([key, value]) => [key, String(value)] as [string, string]))}`
}

function segment(name: string): string {
  if (typeof name === 'string' && name !== '' && name !== '.' && name !== '..' && !/[/%]/.test(name)) {
    return encodeURIComponent(name)
  }
  throw new InvalidInput(`"${name}" is not a name`, { remedy: 'Use lower case letters, digits, "-" and ".".' })
}
