import { expect, it } from 'vitest'
import { pluginInput, type ChainRequest } from './cni-chain.ts'

const request: ChainRequest = {
  id: 1,
  command: 'ADD',
  chain: {
    cniVersion: '1.0.0',
    name: 'two',
    plugins: [{ type: 'bridge', bridge: 'cni0' }, { type: 'bandwidth', capabilities: { bandwidth: true } }],
  }, // prettier-ignore
  pluginFolder: '/plugins',
  containerId: 'c',
  netns: '/run/netns/c',
  capabilityValues: { bandwidth: { ingressRate: 1 }, portMappings: [] },
}

it('gives a plugin the name and version of the list, and only the capabilities that it declares', () => {
  const bridge = { type: 'bridge', bridge: 'cni0', name: 'two', cniVersion: '1.0.0' }
  expect(JSON.parse(pluginInput(request, 0, undefined))).toEqual(bridge)
  const limits = { type: 'bandwidth', name: 'two', cniVersion: '1.0.0' }
  const added = { runtimeConfig: { bandwidth: { ingressRate: 1 } }, prevResult: { ips: [] } }
  expect(JSON.parse(pluginInput(request, 1, { ips: [] }))).toEqual({ ...limits, ...added })
})
