import { createHash } from 'node:crypto'

const ethertype = 0x88b5 // PROBE_ETHERTYPE of bpf/soft-vf.h
const magic = 0x43424e44 // PROBE_MAGIC

function nodeHash(nodeName: string): number {
  return createHash('sha256').update(nodeName).digest().readUInt32BE()
}

/** The broadcast by which other nodes hear of this one; its source is a locally administered MAC made from the name. */
export function probeFrame(nodeName: string): Buffer {
  const frame = Buffer.alloc(60)
  frame.fill(0xff, 0, 6)
  frame.set([0x02, 0xcb], 6)
  frame.writeUInt32BE(nodeHash(nodeName), 8)
  frame.writeUInt16BE(ethertype, 12)
  frame.writeUInt32BE(magic, 14)
  frame.writeUInt32BE(nodeHash(nodeName), 18)
  return frame
}

/** `struct heard_key`. */
export function heardKey(nodeName: string, vlan: number): Buffer {
  const key = Buffer.alloc(8)
  key.writeUInt32LE(nodeHash(nodeName), 0)
  key.writeUInt32LE(vlan, 4)
  return key
}
