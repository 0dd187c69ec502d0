/** The Internet checksum (RFC 1071) over an even number of bytes, which may come in parts. */
export function internetChecksum(...parts: Buffer[]): number {
  const bytes = Buffer.concat(parts)
  let sum = 0
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}
