import { describe, expect, it } from 'vitest'
import { countersSize, CountersReader } from './map-layout.ts'

/** A file of counters: slot and sent bytes of each record. */
function fileOf(...records: [slot: number, sentBytes: number][]): Buffer {
  return Buffer.concat(
    records.map(([slot, sentBytes]) => {
      const record = Buffer.alloc(8 + countersSize)
      record.writeUInt32LE(slot)
      record.writeBigUInt64LE(1n, 8)
      record.writeBigUInt64LE(BigInt(sentBytes), 16)
      return record
    }),
  )
}

const owners = new Map([
  [1, 'one'],
  [2, 'two'],
])
const sentBy = (reader: CountersReader, file: Buffer, ids = owners): Record<string, number> =>
  Object.fromEntries(reader.read(file, ids).map(({ endpointId, sentBytes }) => [endpointId, sentBytes]))

describe('the reader of counters', () => {
  it('gives the same object of an endpoint that did nothing, another one of each that did', () => {
    const reader = new CountersReader()
    const before = reader.read(fileOf([1, 10], [2, 20]), owners)
    const after = reader.read(fileOf([1, 10], [2, 21]), owners)
    expect(after[0]).toBe(before[0])
    expect(after[1]).toMatchObject({ endpointId: 'two', sentBytes: 21 })
    expect(before[1]).toMatchObject({ sentBytes: 20 })
  })

  it('reads the same memory with other contents', () => {
    const [reader, memory] = [new CountersReader(), fileOf([1, 10], [2, 20])]
    reader.read(memory, owners)
    fileOf([1, 11], [2, 20]).copy(memory)
    expect(sentBy(reader, memory)).toEqual({ one: 11, two: 20 })
  })

  it('follows slots that come, go and get another owner', () => {
    const reader = new CountersReader()
    expect(sentBy(reader, fileOf([1, 10], [2, 20]))).toEqual({ one: 10, two: 20 })
    expect(sentBy(reader, fileOf([2, 20]))).toEqual({ two: 20 })
    expect(sentBy(reader, fileOf([1, 0], [2, 20]))).toEqual({ one: 0, two: 20 })
    const others = new Map([[1, 'other']])
    expect(sentBy(reader, fileOf([1, 0], [2, 30]), others)).toEqual({ other: 0 })
    expect(sentBy(reader, fileOf([1, 0], [2, 30]))).toEqual({ one: 0, two: 30 })
  })
})
