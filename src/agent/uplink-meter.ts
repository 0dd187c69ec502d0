import { readFileSync } from 'node:fs'
import type { FoundUplink } from '../api/index.ts'
import type { LiveUplink } from '../network/live-endpoint.ts'

/** What a network device has carried so far, in bytes. */
interface DeviceBytes {
  sent: number
  received: number
}

/** Measures how busy the uplink is. */
export interface UplinkMeter {
  /** To be told every second. */
  sample(): void
  /** `promised`: the sum of floors on the link, in bits per second. */
  read(link: Pick<FoundUplink, 'linkRate' | 'carrier'>, promised: number): LiveUplink
}

/** Makes a meter of a device that reads what the kernel counted. A device that is away has carried nothing. */
export function createUplinkMeter(
  device: string,
  readBytes = readDeviceBytes,
  now = () => performance.now(),
): UplinkMeter {
  let before = readBytes(device)
  let readAt = now()
  let rates = { sent: 0, received: 0 }
  return {
    sample() {
      const [bytes, at] = [readBytes(device), now()]
      const seconds = (at - readAt) / 1000
      const rate = (earlier: number, later: number): number =>
        Math.max(0, Math.round(((later - earlier) * 8) / seconds))
      if (seconds > 0) rates = { sent: rate(before.sent, bytes.sent), received: rate(before.received, bytes.received) }
      ;[before, readAt] = [bytes, at]
    },
    read: ({ linkRate, carrier }, promised) => ({
      interface: device,
      carrier,
      rate: linkRate,
      promised,
      ...rates,
    }),
  }
}

function readDeviceBytes(device: string): DeviceBytes {
  const read = (name: string): number => {
    try {
      return Number(readFileSync(`/sys/class/net/${device}/statistics/${name}`, 'utf8'))
    } catch {
      return 0
    }
  }
  return { sent: read('tx_bytes'), received: read('rx_bytes') }
}
