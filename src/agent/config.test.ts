import { expect, test } from 'vitest'
import { parseAgentConfig, withNodeOfPod } from './config.ts'

const minimal = {
  nodeName: 'n1',
  control: { server: 'https://10.0.0.1:6443' },
  listen: { host: '0.0.0.0', port: 7443 },
  tls: { certificateFile: '/c', keyFile: '/k' },
  tokensFile: '/t',
}

test('defaults are filled in and the result is frozen', () => {
  const config = parseAgentConfig(minimal, 'test')
  expect(config.cniSocket).toBe('/run/carbonado/cni.sock')
  expect(Object.isFrozen(config)).toBe(true)
})

test.each([
  ['an unknown key', { nodename: 'n1' }, 'nodename'],
  ['a relative path', { stateDirectory: 'state' }, 'stateDirectory'],
  ['a server that is no address', { control: { server: 'control' } }, 'control.server'],
  ['a node without an uplink', { node: { uplinks: {} } }, 'node.uplinks.pods'],
  ['a port that is none', { listen: { host: 'x', port: 70000 } }, 'listen.port'],
])('%s is refused by name', (_what, change, name) => {
  expect(() => parseAgentConfig({ ...minimal, ...change }, 'test')).toThrow(name)
})

test('an agent of a DaemonSet learns from its environment which node it is on', () => {
  const file = { listen: { host: '::', port: 7444 } }
  expect(withNodeOfPod(file, { NODE_NAME: 'n1', HOST_IP: '10.0.0.1' })).toEqual({ ...file, nodeName: 'n1', advertise: '10.0.0.1:7444' }) // prettier-ignore
  expect(withNodeOfPod(file, { NODE_NAME: 'n1', HOST_IP: 'fd00::1' })).toMatchObject({ advertise: '[fd00::1]:7444' })
  expect(withNodeOfPod({ ...file, nodeName: 'own' }, { NODE_NAME: 'n1' })).toEqual({ ...file, nodeName: 'own' })
  expect(withNodeOfPod(file, {})).toBe(file)
})
