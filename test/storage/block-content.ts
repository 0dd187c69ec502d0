import { open } from 'node:fs/promises'

const block = 4096

/** Writes a text at a byte offset of a device; on the drive when it returns. */
export async function writeText(devicePath: string, text: string, offset = 0): Promise<void> {
  await using device = await open(devicePath, 'r+')
  const content = Buffer.alloc(block)
  content.write(text)
  await device.write(content, 0, block, offset)
  await device.datasync()
}

/** The text at a byte offset; empty where nothing was written. */
export async function readText(devicePath: string, offset = 0): Promise<string> {
  await using device = await open(devicePath)
  const content = Buffer.alloc(block)
  await device.read(content, 0, block, offset)
  return content.toString('utf8', 0, content.indexOf(0))
}
