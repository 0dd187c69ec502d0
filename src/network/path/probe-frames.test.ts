import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { echoRequest, neighbourRequest, parseAnswer } from './probe-frames.ts'

const sender = { macAddress: '02:00:00:00:00:01', address: '10.30.0.1' }
const sender6 = { macAddress: '02:00:00:00:00:01', address: 'fd00::1' }
const receiver = { macAddress: '02:00:00:00:00:02', address: '10.30.0.2' }
const receiver6 = { macAddress: '02:00:00:00:00:02', address: 'fd00::2' }

/** Sums 16-bit words as a receiver does: 0xffff when the checksum in them is right. */
function sum(...parts: Buffer[]): number {
  const bytes = Buffer.concat(parts)
  let total = 0
  for (let at = 0; at < bytes.length; at += 2) total += bytes.readUInt16BE(at)
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16)
  return total
}

describe('probe frames', () => {
  it('ask for a neighbour by ARP', () => {
    const frame = neighbourRequest(sender, '10.30.0.2')
    expect(frame.toString('hex')).toBe(
      `ffffffffffff0200000000010806${'0001080006040001'}0200000000010a1e0001${'000000000000'}0a1e0002${'00'.repeat(18)}`,
    )
  })

  it('ask for a neighbour by a solicitation with a right checksum', () => {
    const frame = neighbourRequest(sender6, 'fd00::12:3456')
    expect(frame.toString('hex', 0, 6)).toBe('3333ff123456')
    const [addresses, message] = [frame.subarray(22, 54), frame.subarray(54)]
    expect(sum(addresses, Buffer.from([0, 0, 0, message.length, 0, 0, 0, 58]), message)).toBe(0xffff)
  })

  it('are echo requests with right checksums', () => {
    const four = echoRequest(sender, receiver, 0x1234)
    expect([sum(four.subarray(14, 34)), sum(four.subarray(34, 50))]).toEqual([0xffff, 0xffff])
    const six = echoRequest(sender6, receiver6, 0x1234)
    expect(sum(six.subarray(22, 54), Buffer.from([0, 0, 0, 16, 0, 0, 0, 58]), six.subarray(54))).toBe(0xffff)
  })
})

/** What a kernel makes of a request: source and destination change places, and the type. */
function answerTo(request: Buffer, change: (frame: Buffer) => void): Buffer {
  const frame = Buffer.from(request)
  change(frame)
  return frame
}

describe('answers', () => {
  it('are understood, requests are not answers', () => {
    const arp = answerTo(neighbourRequest(receiver, '10.30.0.1'), (frame) => frame.writeUInt16BE(2, 20))
    expect(parseAnswer(arp)).toEqual({ kind: 'neighbour', address: '10.30.0.2', macAddress: '02:00:00:00:00:02' })
    const echo = answerTo(echoRequest(receiver, sender, 77), (frame) => frame.writeUInt8(0, 34))
    expect(parseAnswer(echo)).toEqual({ kind: 'echo', identifier: 77 })
    const echo6 = answerTo(echoRequest(receiver6, sender6, 78), (frame) => frame.writeUInt8(129, 54))
    expect(parseAnswer(echo6)).toEqual({ kind: 'echo', identifier: 78 })
    const advertisement = answerTo(neighbourRequest(receiver6, 'fd00::2'), (frame) => {
      frame.writeUInt8(136, 54)
      frame.writeUInt8(2, 78)
    })
    expect(parseAnswer(advertisement)).toEqual({
      kind: 'neighbour',
      address: 'fd00::2',
      macAddress: '02:00:00:00:00:02',
    })
    for (const request of [
      neighbourRequest(sender, '10.30.0.2'),
      echoRequest(sender, receiver, 1),
      neighbourRequest(sender6, 'fd00::2'),
    ]) {
      expect(parseAnswer(request)).toBeUndefined()
    }
  })

  it('never fail, whatever comes', () => {
    const types = fc.constantFrom('0800', '0806', '86dd', '8100')
    fc.assert(
      fc.property(types, fc.uint8Array({ maxLength: 120 }), (type, bytes) => {
        const frame = Buffer.concat([Buffer.alloc(12), Buffer.from(type, 'hex'), Buffer.from(bytes)])
        expect(() => parseAnswer(frame)).not.toThrow()
      }),
      { numRuns: 2000 },
    )
    for (const frame of [neighbourRequest(receiver6, 'fd00::2'), echoRequest(sender, receiver, 1)]) {
      for (let length = 0; length < frame.length; length++) parseAnswer(frame.subarray(0, length))
    }
  })
})
