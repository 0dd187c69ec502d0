import { exec } from '../../src/base/index.ts'
import { insideMachine } from '../processes.ts'
import { nodeAddress } from '../programs.ts'
import { machinePid } from '../state.ts'
import { cableInterface } from '../switch.ts'
import { kubectl } from './kubectl.ts'

/**
 * The network that a cluster gets without Carbonado: the standard bridge and host-local plugins with a subnet for each
 * node, and routes between the nodes. Benchmarks compare with it.
 */
export async function installBridgeNetwork(nodes: string[]): Promise<void> {
  const cidrs = new Map(await Promise.all(nodes.map(async (node) => [node, await podCidrOf(node)] as const)))
  await Promise.all(
    nodes.map(async (node) => {
      const others = nodes.filter((other) => other !== node)
      const routes = others.map((other) => `route replace ${cidrs.get(other)} via ${nodeAddress(other)} dev ${cableInterface}`) // prettier-ignore
      await onNode(node, ['ip', '-batch', '-'], `${routes.join('\n')}\n`)
      await onNode(node, ['sh', '-c', installScript], JSON.stringify(configurationList(cidrs.get(node)!)))
    }),
  )
}

const installScript =
  'mkdir -p /etc/cni/net.d /opt/cni/bin && cp /usr/lib/cni/* /opt/cni/bin/ && ' +
  'cat > /etc/cni/net.d/.new && mv /etc/cni/net.d/.new /etc/cni/net.d/20-bridge.conflist'

async function podCidrOf(node: string): Promise<string> {
  return kubectl(['wait', '--for=jsonpath={.spec.podCIDR}', `node/${node}`, '--timeout=30s', '-o', 'jsonpath={.spec.podCIDR}']) // prettier-ignore
}

function configurationList(subnet: string): object {
  const ipam = { type: 'host-local', ranges: [[{ subnet }]], routes: [{ dst: '0.0.0.0/0' }] }
  return {
    cniVersion: '1.0.0',
    name: 'bridge',
    plugins: [
      { type: 'bridge', bridge: 'cni0', isGateway: true, ipMasq: false, hairpinMode: true, ipam },
      { type: 'portmap', capabilities: { portMappings: true } },
    ],
  }
}

function onNode(node: string, command: string[], input: string): ReturnType<typeof exec> {
  return exec(insideMachine(machinePid(node), command), { input })
}
