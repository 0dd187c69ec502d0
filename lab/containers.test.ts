import { describe, expect, it } from 'vitest'
import { ociConfiguration, defaultCapabilities } from './container-config.ts'
import { podAnnotations } from './containers.ts'

describe('podAnnotations', () => {
  const container = { node: 'n1', name: 'web' }

  it('writes what was asked for as the annotation of the first endpoint, beside those that were given', () => {
    const annotations = { 'carbonado.io/endpoint1': '{"network":"green"}' }
    const made = podAnnotations({ ...container, network: 'blue', perfTier: 'high', annotations })
    expect(JSON.parse(made['carbonado.io/endpoint0']!)).toEqual({ network: 'blue', perfTier: 'high' })
    expect(made).toMatchObject(annotations)
  })

  it('names a static endpoint instead of a network', () => {
    const made = podAnnotations({ ...container, network: 'blue', endpointId: 'ep1' })
    expect(JSON.parse(made['carbonado.io/endpoint0']!)).toEqual({ endpointId: 'ep1' })
  })

  it('asks for nothing unless told', () => {
    expect(podAnnotations(container)).toEqual({})
  })
})

describe('ociConfiguration', () => {
  it('grants the capabilities named, with or without prefix, and none over the network by default', () => {
    const volumes = { mounts: [], devices: [] }
    const container = { name: 'web', node: 'n1', podUid: 'p1', id: 'c1', volumes, command: ['true'], environment: {} }
    const granted = (capabilities: string[]): string[] =>
      (ociConfiguration({ ...container, capabilities }) as { process: { capabilities: { bounding: string[] } } })
        .process.capabilities.bounding
    expect(granted(['NET_RAW', 'CAP_NET_ADMIN'])).toEqual(['CAP_NET_RAW', 'CAP_NET_ADMIN'])
    expect(granted(defaultCapabilities).filter((name) => /NET_(RAW|ADMIN)/.test(name))).toEqual([])
  })
})
