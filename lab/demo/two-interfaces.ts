import type { Host, Lab } from '../index.ts'
import type { Narrator } from './narration.ts'
import { showDctl } from './networks.ts'

/** A host beyond the gateway: reached only by the gateway's default route. */
const beyond = '192.0.2.1'

/** A container on both networks, which have the same subnet and the same gateway: each is answered on its own VLAN. */
export async function showTwoInterfaces(lab: Lab, narrator: Narrator): Promise<void> {
  narrator.step(6, 'A container with two interfaces')
  narrator.explain('firewall asks for blue (eth0), and for a static endpoint on green (eth1) that was made beforehand.')
  await showDctl(lab, narrator, 'endpoint create inside -n green -i 10.30.0.77')
  const firewall = await lab.startContainer({
    node: 'n2',
    name: 'firewall',
    annotations: {
      'carbonado.io/endpoint0': '{"network":"blue"}',
      'carbonado.io/endpoint1': '{"endpointId":"inside"}',
    },
  })
  await showDctl(lab, narrator, 'endpoint get inside -o wide')
  const [blue, green] = [lab.host('gw-blue'), lab.host('gw-green')]
  await Promise.all([blue, green].map((host) => host.exec(['ip', 'address', 'replace', beyond, 'dev', 'lo'])))
  const isAnswered = async (host: Host, address: string): Promise<boolean> =>
    host.exec(['ping', '-q', '-c', '2', '-i', '0.2', '-W', '1', '-I', beyond, address]).then(
      () => true,
      () => false,
    )
  narrator.explain(
    `Both gateways ask from the same address beyond them, ${beyond}; only the interface tells them apart.`,
  )
  narrator.check(await isAnswered(blue, firewall.address), `blue is answered by eth0 (${firewall.address}, VLAN 100)`)
  narrator.check(await isAnswered(green, '10.30.0.77'), 'green is answered by eth1 (10.30.0.77, VLAN 200)')
  const names = firewall.addresses
  narrator.check(names.length === 1 && names[0] === firewall.address, 'the pod has one address: that of eth0')
  await firewall.kill()
}
