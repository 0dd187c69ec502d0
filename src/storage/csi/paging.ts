import { CsiError } from './csi-errors.ts'
import type { Paging } from './csi-messages.ts'

const tokenPrefix = 'after:'

/**
 * One page of what has names, in their order. The token names the last entry of the page before, so that neither
 * additions nor deletions between two pages make another entry come twice or not at all. Throws ABORTED for a token that
 * was never given out.
 */
export function pageOf<T>(
  all: T[],
  nameOf: (entry: T) => string,
  { maxEntries, startingToken }: Paging,
): { entries: T[]; nextToken: string } {
  if (maxEntries < 0) throw new CsiError('INVALID_ARGUMENT', `max_entries ${maxEntries} is negative`)
  if (startingToken !== '' && !startingToken.startsWith(tokenPrefix)) {
    throw new CsiError('ABORTED', 'starting_token is not a token of an earlier page', {
      remedy: 'List from the start.',
    })
  }
  const after = startingToken.slice(tokenPrefix.length)
  const rest = [...all]
    .sort((one, other) => (nameOf(one) < nameOf(other) ? -1 : 1))
    .filter((each) => nameOf(each) > after)
  const entries = maxEntries === 0 ? rest : rest.slice(0, maxEntries)
  const last = entries.at(-1)
  return { entries, nextToken: entries.length < rest.length ? `${tokenPrefix}${nameOf(last!)}` : '' }
}
