import { describe, expect, it } from 'vitest'
import {
  committedTag,
  entryTags,
  groupTag,
  makingTag,
  readRecord,
  recordName,
  sortRecords,
  type EntryRecord,
} from './entry-record.ts'

const row = (id: string, generation: number, ...tags: string[]): Record<string, string> => ({
  lv_name: recordName(id, generation),
  lv_size: '1048576',
  lv_tags: [...entryTags({ kind: 'volume', sectorSize: 4096, sourceId: 's-1' }), ...tags].join(','),
  lv_active: 'active',
  thin_id: '7',
})
const record = (...args: Parameters<typeof row>): EntryRecord => readRecord(row(...args))!
const names = (records: EntryRecord[]): string[] => records.map(({ name }) => name)

describe('a logical volume', () => {
  it('says what entry it is', () => {
    expect(record('v-1', 2)).toMatchObject({ id: 'v-1', kind: 'volume', size: 1048576, sectorSize: 4096, sourceId: 's-1', generation: 2, isMaking: false, isActive: true, thinId: 7 })
  }) // prettier-ignore

  it('of another name is none', () => expect(readRecord({ lv_name: 'pool', lv_tags: '' })).toBeUndefined())
})

describe('what is in a volume group', () => {
  it('is no entry while it is being made', () => {
    const { entries, remains } = sortRecords([record('a', 0), record('b', 0, makingTag)], [])
    expect([names(entries), names(remains)]).toEqual([['g0.a'], ['g0.b']])
  })

  it('is the newest whole content of a volume', () => {
    const { entries, remains } = sortRecords([record('a', 0), record('a', 2, makingTag), record('a', 1)], [])
    expect([names(entries), names(remains)]).toEqual([['g1.a'], ['g0.a', 'g2.a']])
  })

  it('is an entry of a group when the whole group is there', () => {
    const members = [record('a', 0, groupTag('x')), record('b', 0, groupTag('x'))]
    expect(sortRecords(members, []).entries).toEqual([])
    expect(sortRecords(members, [committedTag('x')]).remains).toEqual([])
  })
})
