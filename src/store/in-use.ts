import { Conflict } from '../base/index.ts'

/** Users that are named. */
const namesShown = 5

/** The error for deleting or changing what is in use: names up to five users and counts the rest. */
export function inUse(what: string, userKind: string, users: string[], remedy: string): Conflict {
  const shown = users.slice(0, namesShown).join(', ')
  const more = users.length > namesShown ? ` and ${users.length - namesShown} more` : ''
  const plural = users.length === 1 ? userKind : `${userKind}s`
  return new Conflict(`${what} is in use by ${users.length} ${plural}: ${shown}${more}`, {
    remedy,
    details: { users: users.slice(0, namesShown), count: users.length },
  })
}
