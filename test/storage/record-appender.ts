import { open } from 'node:fs/promises'

// Appends records to a device and says, after each is on the drive, how many there are.
const device = await open(process.argv[2]!, 'r+')
const record = Buffer.alloc(4096)
for (let count = 0; count < 16_000; count++) {
  record.fill(0)
  record.write(`record ${count}`)
  await device.write(record, 0, record.length, count * record.length)
  await device.datasync()
  console.log(count + 1)
}
