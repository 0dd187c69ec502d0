import { expect, test } from 'vitest'
import type { Endpoint } from '../../api/index.ts'
import { endpointsMeant, pairOnOneNetwork } from './endpoint-search.ts'

function endpoint(name: string, pod: string, containerId: string, address: string, namespace = 'default'): Endpoint {
  return {
    metadata: { name, namespace },
    spec: {
      networkName: 'blue',
      isStatic: false,
      holder: { containerId, interfaceName: 'eth0', pod: { namespace, name: pod } },
      addresses: [address],
    },
  }
}

const endpoints = [
  endpoint('web-eth0-1', 'web', 'aaaaaaaabbbb', '10.30.0.10'),
  endpoint('web', 'other', 'aaaaaaaacccc', '10.30.0.11'),
  endpoint('db-eth0-1', 'db', 'dddddddd', 'fd00::1'),
  endpoint('db-eth1-1', 'db', 'dddddddd', '10.31.0.11'),
  endpoint('web', 'web', 'eeeeeeee', '10.30.0.10', 'shop'),
]
const meant = (text: string, namespace = 'default'): string[] =>
  endpointsMeant(endpoints, text, namespace).map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)

test.each([
  ['web-eth0-1', ['default/web-eth0-1']],
  ['web', ['default/web']],
  ['other', ['default/web']],
  ['shop/web', ['shop/web']],
  ['db', ['default/db-eth0-1', 'default/db-eth1-1']],
  ['aaaaaaaab', ['default/web-eth0-1']],
  ['aaaaaaaa', ['default/web-eth0-1', 'default/web']],
  ['aaaaa', []],
  ['fd00:0::1', ['default/db-eth0-1']],
  ['10.30.0.10', ['default/web-eth0-1', 'shop/web']],
  ['10.30.0.99', []],
  ['nothing', []],
  ['', []],
  ['/', []],
  ['shop/', []],
  ['../web', []],
  ['10.30.0.10/24', []],
  ['%00', []],
])('%s means %j', (text, expected) => {
  expect(meant(text)).toEqual(expected)
})

test('a pod with several interfaces means the one on the network of the other end', () => {
  const on = (name: string, networkName: string): Endpoint => {
    const made = endpoint(name, 'multi', 'ffffffff', '10.0.0.1')
    return { ...made, spec: { ...made.spec, networkName } }
  }
  const [blue, green, other] = [on('multi-eth0', 'blue'), on('multi-eth1', 'green'), on('db-eth0', 'green')]
  expect(pairOnOneNetwork([blue, green], [other])).toEqual({ from: green, to: other })
  expect(pairOnOneNetwork([other], [blue, green])).toEqual({ from: other, to: green })
  expect(pairOnOneNetwork([blue, green], [blue, green])).toBeUndefined()
  expect(pairOnOneNetwork([blue], [other])).toBeUndefined()
  expect(pairOnOneNetwork([], [other])).toBeUndefined()
})
