/** One request to the kernel, without the header that the socket puts before it. */
export interface NetlinkRequest {
  /** RTM_..., from linux/rtnetlink.h. */
  type: number
  /** Flags beside those of every request: see `flags`. */
  flags: number
  /** Family header and attributes. */
  body: Buffer
  /** What is tried, as an error says it: `add address 10.0.0.2/24 to eth0`. */
  purpose: string
}

/** One message of the kernel, without its header. */
export interface NetlinkMessage {
  type: number
  body: Buffer
}

/** What the kernel said to one request: undefined when it did it. */
export interface NetlinkRefusal {
  /** Positive, such as 17 for EEXIST. */
  errno: number
  /** What the kernel says in words (NLMSGERR_ATTR_MSG), when it says anything. */
  said?: string
}

/** NLM_F_... of linux/netlink.h. */
export const flags = {
  request: 0x1,
  acknowledge: 0x4,
  dump: 0x300,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
} as const

const headerLength = 16
const errorType = 2 // NLMSG_ERROR
const doneType = 3 // NLMSG_DONE
const cappedFlag = 0x100 // NLM_F_CAPPED
const withAttributesFlag = 0x200 // NLM_F_ACK_TLVS
const messageAttribute = 1 // NLMSGERR_ATTR_MSG
const typeMask = 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER

function aligned(length: number): number {
  return (length + 3) & ~3
}

/** A `struct nlattr` with its content, padded to four bytes. Attributes nest. */
export function attribute(type: number, ...content: Buffer[]): Buffer {
  const length = 4 + content.reduce((sum, part) => sum + part.length, 0)
  const result = Buffer.alloc(aligned(length))
  result.writeUInt16LE(length, 0)
  result.writeUInt16LE(type, 2)
  let at = 4
  for (const part of content) at += part.copy(result, at)
  return result
}

/** Content of attributes: numbers in the host's byte order (little endian on all that is supported), text with its zero. */
export const u8 = (value: number): Buffer => Buffer.from([value])
export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
export const u64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return bytes
}
export const text = (value: string): Buffer => Buffer.from(`${value}\0`)

/** Attributes by type; of a type that comes twice the last. What is cut off is left out. */
export function readAttributes(bytes: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>()
  for (let at = 0; at + 4 <= bytes.length;) {
    const length = bytes.readUInt16LE(at)
    if (length < 4 || at + length > bytes.length) break
    found.set(bytes.readUInt16LE(at + 2) & typeMask, bytes.subarray(at + 4, at + length))
    at += aligned(length)
  }
  return found
}

/** Text of an attribute, without the zero at its end. */
export function readText(bytes: Buffer | undefined): string | undefined {
  return bytes?.toString('utf8', 0, bytes.at(-1) === 0 ? bytes.length - 1 : bytes.length)
}

/** Requests as they are sent, numbered from `firstNumber` on. */
export function encodeRequests(requests: NetlinkRequest[], firstNumber: number, extraFlags: number): Buffer {
  const parts = requests.flatMap(({ type, flags: own, body }, index) => {
    const header = Buffer.alloc(headerLength)
    header.writeUInt32LE(headerLength + body.length, 0)
    header.writeUInt16LE(type, 4)
    header.writeUInt16LE(flags.request | extraFlags | own, 6)
    header.writeUInt32LE(firstNumber + index, 8)
    return [header, body, Buffer.alloc(aligned(body.length) - body.length)]
  })
  return Buffer.concat(parts)
}

/** What one datagram of the kernel carries. */
export type NetlinkAnswer =
  | { kind: 'message'; number: number; message: NetlinkMessage }
  | { kind: 'acknowledged'; number: number; refusal: NetlinkRefusal | undefined }
  | { kind: 'done'; number: number; refusal: NetlinkRefusal | undefined }

/** Takes a datagram of the kernel apart. */
export function decodeAnswers(datagram: Buffer): NetlinkAnswer[] {
  const answers: NetlinkAnswer[] = []
  for (let at = 0; at + headerLength <= datagram.length;) {
    const length = datagram.readUInt32LE(at)
    if (length < headerLength || at + length > datagram.length) break
    answers.push(decodeAnswer(datagram.subarray(at, at + length)))
    at += aligned(length)
  }
  return answers
}

function decodeAnswer(bytes: Buffer): NetlinkAnswer {
  const type = bytes.readUInt16LE(4)
  const number = bytes.readUInt32LE(8)
  const body = bytes.subarray(headerLength)
  if (type === errorType) return { kind: 'acknowledged', number, refusal: refusalOf(bytes, body, headerLength) }
  if (type === doneType) return { kind: 'done', number, refusal: refusalOf(bytes, body, 0) }
  return { kind: 'message', number, message: { type, body } }
}

/** `struct nlmsgerr`: the error, the request's header, the rest of the request unless capped, attributes. */
function refusalOf(bytes: Buffer, body: Buffer, requestHeader: number): NetlinkRefusal | undefined {
  const errno = body.length < 4 ? 0 : -body.readInt32LE(0)
  if (errno === 0) return undefined
  const flagsOfAnswer = bytes.readUInt16LE(6)
  if (!(flagsOfAnswer & withAttributesFlag)) return { errno }
  const echoed = requestHeader === 0 || flagsOfAnswer & cappedFlag ? requestHeader : aligned(body.readUInt32LE(4))
  const said = readText(readAttributes(body.subarray(4 + echoed)).get(messageAttribute))
  return said ? { errno, said } : { errno }
}
