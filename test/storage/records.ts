import { open } from 'node:fs/promises'

/** How many records of record-appender.ts are whole in a row, from the first. */
export async function recordsOn(devicePath: string): Promise<number> {
  await using device = await open(devicePath)
  const record = Buffer.alloc(4096)
  for (let count = 0; ; count++) {
    await device.read(record, 0, record.length, count * record.length)
    if (record.toString('utf8', 0, record.indexOf(0)) !== `record ${count}`) return count
  }
}
