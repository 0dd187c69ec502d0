import type { JournalRecord } from './journal.ts'

/** Whether an interface comes and goes with another one, the primary, of the same container. */
export function isChildOf(
  record: JournalRecord,
  primary: Pick<JournalRecord, 'containerId' | 'interfaceName'>,
): boolean {
  return record.containerId === primary.containerId && record.primaryInterface === primary.interfaceName
}

/** Whether an interface is a child whose primary has gone or is going. */
export function isOrphan(record: JournalRecord, all: JournalRecord[]): boolean {
  if (record.primaryInterface === undefined) return false
  const primary = all.find(
    (other) => other.interfaceName === record.primaryInterface && other.containerId === record.containerId,
  )
  return primary === undefined || primary.state === 'removing' || primary.state === 'detached'
}
