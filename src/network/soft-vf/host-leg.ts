import { existsSync, writeFileSync } from 'node:fs'

/** Settings of a node's own leg in a VLAN, under /proc/sys/net. */
const settings: [path: (name: string) => string, value: string][] = [
  // what others on the VLAN advertise is not for the node
  [(name) => `ipv6/conf/${name}/disable_ipv6`, '1'],
  // it says nothing of the node's other addresses
  [(name) => `ipv4/conf/${name}/arp_ignore`, '1'],
  [(name) => `ipv4/conf/${name}/arp_announce`, '2'],
  // what comes in here goes on, where the rules of the host path let it
  [(name) => `ipv4/conf/${name}/forwarding`, '1'],
]

/** Keeps the node from hearing and telling more on a VLAN than its leg is for; before the leg can send or receive. */
export function hardenHostLeg(name: string): void {
  for (const [path, value] of settings) {
    const file = `/proc/sys/net/${path(name)}`
    if (existsSync(file)) writeFileSync(file, value) // a kernel without IPv6 has nothing to switch off
  }
}
