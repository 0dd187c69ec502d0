/** What goes into an archive: a directory, a file with its content, or a device node. */
export type CpioEntry =
  | { path: string; kind: 'directory' }
  | { path: string; kind: 'file'; mode: number; content: Buffer }
  | { path: string; kind: 'link'; target: string }
  | { path: string; kind: 'device'; major: number; minor: number }

const types = { directory: 0o040755, link: 0o120777, device: 0o020600 }

/** An archive in the "newc" form that the kernel unpacks as its first root (Documentation/driver-api/early-userspace). */
export function cpioArchive(entries: CpioEntry[]): Buffer {
  const all = [
    ...entries.map(encode),
    encode({ path: 'TRAILER!!!', kind: 'file', mode: 0, content: Buffer.alloc(0) }, 0),
  ]
  return Buffer.concat(all)
}

function encode(entry: CpioEntry, index: number): Buffer {
  const name = Buffer.from(`${entry.path}\0`)
  const content = entry.kind === 'file' ? entry.content : Buffer.from(entry.kind === 'link' ? entry.target : '')
  const mode = entry.kind === 'file' ? 0o100000 | entry.mode : types[entry.kind]
  const [major, minor] = entry.kind === 'device' ? [entry.major, entry.minor] : [0, 0]
  const fields = [index + 1, mode, 0, 0, 1, 0, content.length, 0, 0, major, minor, name.length, 0]
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`
  return Buffer.concat([padded(Buffer.concat([Buffer.from(header), name])), padded(content)])
}

function padded(part: Buffer): Buffer {
  return Buffer.concat([part, Buffer.alloc(-part.length & 3)])
}
