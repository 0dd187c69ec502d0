import type { DropReason } from '../../src/network/engine.ts'
import type { Container, Host, Lab } from '../index.ts'
import type { Narrator } from './narration.ts'
import { showDctl } from './networks.ts'
import { liveOf } from './traffic.ts'

/** Containers that later steps go on with. */
export interface Cast {
  web: Container
  peer: Container
}

type Place = Pick<Container | Host, 'exec'>

async function reaches(from: Place, address: string, ...options: string[]): Promise<boolean> {
  return from.exec(['ping', '-q', '-c', '2', '-i', '0.2', '-W', '1', ...options, address]).then(
    () => true,
    () => false,
  )
}

/** Step 2: containers on the networks, isolation between VLANs, and what happens to a container that lies. */
export async function showIsolation(lab: Lab, narrator: Narrator): Promise<Cast> {
  narrator.step(2, 'Containers on those networks')
  narrator.explain(
    'Real containers (runc), attached by the CNI plugin. Gateways are hosts behind the switch, outside the cluster.',
  )
  const [gateway, , web, peer, green, liar] = await Promise.all([
    lab.addHost({ name: 'gw-blue', vlan: 100, address: ['10.30.0.1/24'] }),
    lab.addHost({ name: 'gw-green', vlan: 200, address: ['10.30.0.1/24'] }),
    lab.startContainer({ node: 'n1', name: 'web', network: 'blue' }),
    lab.startContainer({ node: 'n2', name: 'peer', network: 'blue' }),
    lab.startContainer({ node: 'n1', name: 'tenant', network: 'green' }),
    lab.startContainer({ node: 'n3', name: 'liar', network: 'blue', capabilities: ['NET_RAW', 'NET_ADMIN'] }),
  ])
  await showDctl(lab, narrator, 'endpoint list')
  narrator.check(await reaches(web, peer.address), `web (n1) reaches peer (n2) at ${peer.address}, no NAT, no overlay`)
  narrator.check(await reaches(web, '10.30.0.1'), 'web reaches the gateway behind the switch')
  narrator.check(
    await reaches(gateway, web.address),
    'and the gateway reaches web: it is a member of the VLAN like any server',
  )
  narrator.check(
    !(await crosses(web, green)),
    `web does not reach tenant (${green.address}, VLAN 200) on the same node`,
  )
  await showSpoofing(lab, narrator, liar, peer)
  return { web, peer }
}

/** Whether a frame to the other's own MAC gets across: stricter than a ping, which would stop at ARP. */
async function crosses(from: Container, to: Container): Promise<boolean> {
  await from.execInNetns(['ip', 'neighbour', 'replace', to.address, 'lladdr', to.mac, 'dev', 'eth0'])
  const through = await reaches(from, to.address)
  await from.execInNetns(['ip', 'neighbour', 'del', to.address, 'dev', 'eth0'])
  return through
}

async function showSpoofing(lab: Lab, narrator: Narrator, liar: Container, peer: Container): Promise<void> {
  narrator.explain(
    'liar (n3) may configure its own network (NET_ADMIN). It pretends to be the gateway, then another MAC.',
  )
  await liar.exec(['ip', 'address', 'add', '10.30.0.1/32', 'dev', 'eth0'])
  const byArp = await reaches(liar, peer.address, '-I', '10.30.0.1')
  await liar.exec(['ip', 'neighbour', 'replace', peer.address, 'lladdr', peer.mac, 'dev', 'eth0'])
  const byIp = await reaches(liar, peer.address, '-I', '10.30.0.1')
  await liar.exec(['ip', 'address', 'del', '10.30.0.1/32', 'dev', 'eth0'])
  const byMac = await reachesWithMac(liar, '02:00:de:ad:be:ef', peer.address)
  await liar.exec(['ip', 'link', 'set', 'eth0', 'address', liar.mac])
  const { drops } = await liveOf(lab, liar)
  const counted = (reason: DropReason): number => drops[reason]
  narrator.check(!byArp && counted('spoofed-arp') > 0, `forged ARP dropped (${counted('spoofed-arp')} frames)`)
  narrator.check(!byIp && counted('spoofed-ip') > 0, `forged IP source dropped (${counted('spoofed-ip')} frames)`)
  narrator.check(!byMac && counted('spoofed-mac') > 0, `forged MAC dropped (${counted('spoofed-mac')} frames)`)
  const name = await endpointName(lab, liar)
  await showDctl(lab, narrator, `endpoint describe ${name}`)
}

/**
 * Whether a container gets an answer while it has another MAC. Its agent puts the right one back after some seconds; an
 * answer that came because of that says nothing, and the container tries again.
 */
async function reachesWithMac(container: Container, mac: string, address: string): Promise<boolean> {
  for (;;) {
    await container.exec(['ip', 'link', 'set', 'eth0', 'address', mac])
    if (!(await reaches(container, address))) return false
    const { stdout } = await container.exec(['cat', '/sys/class/net/eth0/address'])
    if (stdout.trim() === mac) return true
  }
}

async function endpointName(lab: Lab, container: Container): Promise<string> {
  const { Endpoint } = await import('../../src/api/index.ts')
  const { items } = await lab.store.list(Endpoint, { fieldSelector: `spec.nodeName=${container.node}` })
  return items.find((endpoint) => endpoint.spec.holder?.containerId === container.id)!.metadata.name
}
