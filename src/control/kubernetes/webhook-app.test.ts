import { describe, expect, it } from 'vitest'
import { allKinds, Network, type KindDefinition, type KubeObject } from '../../api/index.ts'
import { silentLogger } from '../../base/index.ts'
import { makeWebhookApp } from './webhook-app.ts'
import { admissionPath } from './admission-webhook.ts'
import { podAdmissionPath, templateAdmissionPath } from './pod-webhook.ts'

const blue: Network = {
  metadata: { name: 'blue' },
  spec: { subnets: [{ cidr: '10.30.0.0/24', ranges: [] }], plane: 'pods', isDefault: false },
}

const agent = 'system:serviceaccount:carbonado-system:carbonado-agent'

/** Control's application; `networks` may grow while it runs, as a copy of the store does. */
function appOf(networks: Network[] = [blue]): ReturnType<typeof makeWebhookApp> {
  const items = (kind: KindDefinition<never>): KubeObject[] =>
    kind === (Network as KindDefinition<never>) ? networks : []
  return makeWebhookApp({
    kinds: allKinds as unknown as KindDefinition[],
    agents: agent,
    reader: {
      get: (kind, { name }) => items(kind as never).find(({ metadata }) => metadata.name === name) as never,
      list: (kind) => items(kind as never) as never,
    },
    admit: () => {},
    isLeading: () => true,
    scheduler: {
      demandOf: () => {
        throw new Error('nobody may ask')
      },
      nodeFacts: () => undefined,
      bind: () => Promise.reject(new Error('nobody may ask')),
    },
    bodyLimit: 1_000_000,
    logger: silentLogger(),
  })
}

interface Reviewed {
  response: { uid: string; allowed: boolean; patch?: string; status?: { message: string; code: number } }
}

async function review(path: string, object: object, app = appOf()): Promise<Reviewed['response']> {
  const kind = { group: '', version: 'v1', kind: 'Pod' }
  const payload = { request: { uid: 'r1', operation: 'CREATE', kind, namespace: 'shop', object } }
  return (await app.inject({ method: 'POST', url: path, payload })).json<Reviewed>().response
}

const pod = (annotation?: string): object => ({
  metadata: { generateName: 'web-', ...(annotation ? { annotations: { 'carbonado.io/endpoint0': annotation } } : {}) },
  spec: { containers: [{ name: 'main' }] },
})

describe('what the API server asks about a pod', () => {
  it('is answered with its requests', async () => {
    const { uid, allowed, patch } = await review(podAdmissionPath, pod('{"network":"blue"}'))
    const own = { 'carbonado.io/interfaces': '1' }
    expect({ uid, allowed }).toEqual({ uid: 'r1', allowed: true })
    expect(JSON.parse(Buffer.from(patch!, 'base64').toString())).toEqual([
      { op: 'add', path: '/spec/containers/0/resources', value: { requests: own, limits: own } },
    ])
  })

  it('waits a moment for a network that was applied just before', async () => {
    const networks: Network[] = []
    setTimeout(() => networks.push(blue), 100)
    expect(await review(podAdmissionPath, pod('{"network":"blue"}'), appOf(networks))).toMatchObject({ allowed: true })
  })

  it.each([
    [podAdmissionPath, pod('{"network":"purple"}'), 404, 'network purple does not exist. Choose one from'],
    [podAdmissionPath, pod('{"netwrk":"blue"}'), 400, 'has the unknown key "netwrk". Use only network,'],
    [templateAdmissionPath, { spec: { template: pod('{') } }, 400, 'is not JSON'],
    [
      templateAdmissionPath,
      { spec: { jobTemplate: { spec: { template: pod('[]') } } } },
      400,
      'expected a JSON object',
    ],
  ])('is refused at %s for a mistake, with what to do', async (path, object, code, message) => {
    const { allowed, status } = await review(path, object)
    expect(allowed).toBe(false)
    expect(status).toMatchObject({ code, message: expect.stringContaining(message) as string })
  })

  it.each([[{ spec: { template: pod('{"network":"not there yet"}'.replaceAll(' ', '-')) } }], [{ spec: {} }], [{}]])(
    'passes for a template whose network may come later, and for none: %j',
    async (object) => {
      expect(await review(templateAdmissionPath, object)).toMatchObject({ allowed: true })
    },
  )
})

describe('what the API server asks about a write of an agent', () => {
  const node = (name: string): object => ({
    apiVersion: 'carbonado.io/v1alpha1',
    kind: 'Node',
    metadata: { name, managedFields: [] },
    spec: { uplinks: { pods: { interface: 'eth0', rate: '1G' } }, maximumInterfaces: 10 },
  })
  const ask = async (name: string, operation: string, userInfo: object): Promise<Reviewed['response']> => {
    const kind = { group: 'carbonado.io', version: 'v1alpha1', kind: 'Node' }
    const objects = { ...(operation === 'DELETE' ? {} : { object: node(name) }), ...(operation === 'CREATE' ? {} : { oldObject: node(name) }) } // prettier-ignore
    const payload = { request: { uid: 'r1', operation, kind, userInfo, ...objects } }
    return (await appOf().inject({ method: 'POST', url: admissionPath, payload })).json<Reviewed>().response
  }
  const ofN1 = { username: agent, extra: { 'authentication.kubernetes.io/node-name': ['n1'] } }

  it.each([
    ['CREATE', 'n1', ofN1, true],
    ['UPDATE', 'n1', ofN1, true],
    ['DELETE', 'n1', ofN1, true],
    ['CREATE', 'n2', ofN1, false],
    ['UPDATE', 'n2', ofN1, false],
    ['DELETE', 'n2', ofN1, false],
    ['UPDATE', 'n1', { username: agent }, false],
    ['UPDATE', 'n1', { username: agent, extra: { 'authentication.kubernetes.io/node-name': [] } }, false],
    ['UPDATE', 'n2', { username: 'ann' }, true],
  ])('%s of node %s by %j: %s', async (operation, name, userInfo, expected) => {
    const { allowed, status } = await ask(name, operation, userInfo)
    expect({ allowed, code: status?.code }).toEqual({ allowed: expected, code: expected ? undefined : 403 })
  })
})

describe('the scheduler extender', () => {
  it.each(['filter', 'prioritize', 'bind'])(
    'answers nobody without the certificate of the scheduler: %s',
    async (verb) => {
      const answer = await appOf().inject({
        method: 'POST',
        url: `/scheduler/${verb}`,
        payload: { Pod: {}, NodeNames: [] },
      })
      expect(answer.statusCode).toBe(403)
      expect(answer.json<{ message: string }>().message).toMatch(/only the scheduler of Kubernetes may ask/)
    },
  )
})
