import fc from 'fast-check'
import { expect, it } from 'vitest'
import { entryName, parseEntryName, type NamedEntry } from './entry-name.ts'

const id = fc.stringMatching(/^[A-Za-z0-9-]{1,64}$/)

it('reads every name that it writes', () => {
  const entry = fc.record(
    { id, kind: fc.constantFrom('volume', 'snapshot'), sectorSize: fc.constantFrom(512, 4096), sourceId: id },
    { requiredKeys: ['id', 'kind', 'sectorSize'] },
  ) as fc.Arbitrary<NamedEntry>
  fc.assert(fc.property(entry, (each) => void expect(parseEntryName(entryName(each))).toEqual({ ...each })))
})

it.each(['making.v1.volume.512', 'v1', 'v1.volume', 'v1.volume.1024', 'v1.volume.512.', 'v1.volume.512.s1.x', '../v1.volume.512'])(
  'does not take %s for an entry',
  (name) => expect(parseEntryName(name)).toBeUndefined(),
) // prettier-ignore
