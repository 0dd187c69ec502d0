import fc from 'fast-check'
import { expect, test } from 'vitest'
import { namePattern } from '../../api/index.ts'
import { endpointNameFor } from './endpoint-name.ts'

test('names are valid for any container and pod, at most 63 characters, and the same every time', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.option(fc.string()), (containerId, interfaceName, podName) => {
      const pod = podName === null ? undefined : { namespace: 'default', name: podName }
      const name = endpointNameFor({ containerId, interfaceName, pod })
      expect(name).toMatch(new RegExp(namePattern))
      expect(name.length).toBeLessThanOrEqual(63)
      expect(endpointNameFor({ containerId, interfaceName, pod })).toBe(name)
    }),
  )
})

test('names tell pod and interface, and differ between containers', () => {
  const pod = { namespace: 'shop', name: 'web-0' }
  const name = endpointNameFor({ containerId: 'a', interfaceName: 'eth0', pod })
  expect(name).toMatch(/^web-0-eth0-[0-9a-f]{10}$/)
  expect(endpointNameFor({ containerId: 'b', interfaceName: 'eth0', pod })).not.toBe(name)
  expect(endpointNameFor({ containerId: 'a', interfaceName: 'eth1', pod })).not.toBe(name)
})
