import { describe, expect, test } from 'vitest'
import { attribute, decodeAnswers, encodeRequests, readAttributes, readText, text, u32 } from './message.ts'

describe('attributes', () => {
  test('are padded to four bytes and read back, nested too', () => {
    const bytes = Buffer.concat([attribute(3, text('eth0')), attribute(18, attribute(1, text('veth')), attribute(2, u32(7)))])
    expect(bytes.length % 4).toBe(0)
    const fields = readAttributes(bytes)
    expect(readText(fields.get(3))).toBe('eth0')
    const nested = readAttributes(fields.get(18)!)
    expect([readText(nested.get(1)), nested.get(2)!.readUInt32LE()]).toEqual(['veth', 7])
  }) // prettier-ignore

  test('that say they are longer than what is there, or shorter than their header, end the reading', () => {
    const cut = attribute(3, text('eth0')).subarray(0, 6)
    expect(readAttributes(Buffer.concat([attribute(4, u32(1)), cut])).size).toBe(1)
    expect(readAttributes(Buffer.alloc(16)).size).toBe(0)
  })
})

describe('answers', () => {
  const header = (length: number, type: number, flags: number, number: number): Buffer => {
    const bytes = Buffer.alloc(16)
    bytes.writeUInt32LE(16 + length, 0)
    bytes.writeUInt16LE(type, 4)
    bytes.writeUInt16LE(flags, 6)
    bytes.writeUInt32LE(number, 8)
    return bytes
  }
  const failed = (errno: number): Buffer => {
    const bytes = Buffer.alloc(4)
    bytes.writeInt32LE(-errno)
    return bytes
  }

  test('carry the error, and the words behind the echoed request', () => {
    const request = encodeRequests([{ type: 16, flags: 0, body: Buffer.alloc(20), purpose: 'try' }], 7, 4)
    const words = attribute(1, text('no such thing'))
    const capped = Buffer.concat([failed(19), request.subarray(0, 16), words])
    const whole = Buffer.concat([failed(19), request, words])
    const answers = decodeAnswers(
      Buffer.concat([header(capped.length, 2, 0x300, 7), capped, header(whole.length, 2, 0x200, 8), whole]),
    )
    const refusal = { errno: 19, said: 'no such thing' }
    expect(answers).toEqual([
      { kind: 'acknowledged', number: 7, refusal },
      { kind: 'acknowledged', number: 8, refusal },
    ])
  })

  test('without an error acknowledge, and end a list', () => {
    const fine = Buffer.concat([failed(0), Buffer.alloc(16)])
    const answers = decodeAnswers(Buffer.concat([header(fine.length, 2, 0, 1), fine, header(4, 3, 0, 2), failed(0)]))
    expect(answers).toEqual([
      { kind: 'acknowledged', number: 1, refusal: undefined },
      { kind: 'done', number: 2, refusal: undefined },
    ])
  })

  test('of any bytes are read to where they make sense, and never further', () => {
    for (let round = 0; round < 2000; round++) {
      const bytes = Buffer.from(Array.from({ length: round % 90 }, () => Math.floor(Math.random() * 256)))
      for (const answer of decodeAnswers(bytes)) if (answer.kind === 'message') readAttributes(answer.message.body)
    }
  })
})
