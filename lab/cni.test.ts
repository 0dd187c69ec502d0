import { describe, expect, it } from 'vitest'
import { annotationsCapability, carbonadoConfigurationList, cniEnvironment, pluginConfiguration } from './cni.ts'

describe('pluginConfiguration', () => {
  it('gives a plugin the name and version of its list, and the annotations when it has asked for them', () => {
    const annotations = { 'carbonado.io/endpoint0': '{"network":"blue"}' }
    expect(pluginConfiguration(carbonadoConfigurationList, { annotations })).toMatchObject({
      cniVersion: '1.1.0',
      name: 'carbonado',
      type: 'carbonado-cni',
      runtimeConfig: { [annotationsCapability]: annotations },
    })
    const deaf = { ...carbonadoConfigurationList, plugins: [{ type: 'bridge' }] }
    expect(pluginConfiguration(deaf, { annotations })).not.toHaveProperty('runtimeConfig')
  })

  it('lets tests put anything over it, and take fields out', () => {
    const configuration = { cniVersion: '9.9.9', name: undefined }
    const made = JSON.parse(JSON.stringify(pluginConfiguration(carbonadoConfigurationList, { configuration })))
    expect(made).toMatchObject({ cniVersion: '9.9.9' })
    expect(made).not.toHaveProperty('name')
  })
})

describe('cniEnvironment', () => {
  it('names the pod as containerd does', () => {
    const pod = { namespace: 'default', name: 'web', uid: 'u1' }
    const environment = cniEnvironment('ADD', { containerId: 'c1', netns: '/run/netns/c1', pod })
    expect(environment.CNI_ARGS).toBe(
      'IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u1',
    )
    expect(environment).toMatchObject({ CNI_COMMAND: 'ADD', CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0' })
  })

  it('says nothing of a container in verbs that have none', () => {
    expect(Object.entries(cniEnvironment('STATUS', {})).filter(([, value]) => value !== undefined)).toEqual([
      ['CNI_COMMAND', 'STATUS'],
      ['CNI_PATH', '/opt/cni/bin'],
    ])
  })
})
