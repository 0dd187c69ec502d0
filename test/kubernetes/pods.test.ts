import './own-lab.ts'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Lab, takeLabDown } from '../../lab/index.ts'
import {
  applyObjects,
  hostKubeconfig,
  imageReference,
  kubectl,
  kubernetesPlaces,
  programs,
} from '../../lab/kubernetes/index.ts'
import { projectRoot } from '../../lab/places.ts'
import { insideMachine } from '../../lab/processes.ts'
import { machinePid } from '../../lab/state.ts'
import { exec, type ExecError } from '../../src/base/index.ts'

let lab: Lab

beforeAll(async () => {
  await takeLabDown()
  lab = await Lab.up({ kubernetes: true, rate: null })
  await applyObjects([network('blue', 100, '10.30.0'), network('green', 200, '10.31.0')])
})
afterAll(() => lab?.down())

function network(name: string, vlan: number, prefix: string): object {
  return {
    apiVersion: 'carbonado.io/v1alpha1',
    kind: 'Network',
    metadata: { name },
    spec: { subnets: [{ cidr: `${prefix}.0/24`, gateway: `${prefix}.1` }], vlan },
  }
}

function pod(name: string, endpoint: object | string, nodeName?: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels: { app: 'test' }, annotations: { 'carbonado.io/endpoint0': typeof endpoint === 'string' ? endpoint : JSON.stringify(endpoint) } },
    spec: {
      nodeName,
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'main', image: imageReference('busybox'), imagePullPolicy: 'Never', command: ['sleep', 'infinity'] }],
    },
  } // prettier-ignore
}

interface PodList {
  items: { metadata: { name: string }; status: { podIP?: string; phase: string } }[]
}

async function addresses(): Promise<string[]> {
  const { items } = JSON.parse(await kubectl(['get', 'pods', '-l', 'app=test', '-o', 'json'])) as PodList
  return items.map(({ status }) => status.podIP ?? '')
}

/** A kubeconfig of the lab's cluster for somebody with a token. */
async function kubeconfigWithToken(token: string): Promise<string> {
  const file = kubernetesPlaces.kubeconfig('token-of-the-test')
  const admin = JSON.parse(readFileSync(hostKubeconfig, 'utf8')) as { users: object[] }
  const [{ name }] = admin.users as [{ name: string }]
  writeFileSync(file, JSON.stringify({ ...admin, users: [{ name, user: { token } }] }), { mode: 0o600 })
  return file
}

const running = (deadline: number): Promise<string> =>
  kubectl(['wait', 'pod', '-l', 'app=test', '--for=condition=Ready', `--timeout=${deadline}s`], { deadline: (deadline + 5) * 1000 }) // prettier-ignore

const nothingLeft = async (): Promise<void> => {
  await kubectl(['delete', 'pod', '-l', 'app=test', '--wait=true', '--timeout=240s'], { deadline: 245_000 })
  await expect
    .poll(() => kubectl(['get', 'endpoints.carbonado.io,addressclaims,macclaims', '-A', '-o', 'name']), {
      timeout: 120_000,
    }) // prettier-ignore
    .toBe('')
}

/** What the agent of a node answers to somebody on it who shows a token. */
async function scrape(node: string, token: string, path = '/metrics'): Promise<{ code: number; text: string }> {
  const program = `
    const [path, token] = process.argv.slice(1)
    const options = { host: '127.0.0.1', port: 7444, path, rejectUnauthorized: false, headers: { authorization: 'Bearer ' + token } }
    require('node:https').get(options, async (answer) => {
      console.log(JSON.stringify({ code: answer.statusCode, text: (await answer.toArray()).join('') }))
    })`
  const command = [process.execPath, '-e', program, path, token]
  return JSON.parse((await exec(insideMachine(machinePid(node), command), { deadline: 60_000 })).stdout) as {
    code: number
    text: string
  }
}

describe('pods of a Kubernetes cluster whose network is Carbonado', () => {
  test('reach each other within a network, on one node and across nodes, and nobody else', async () => {
    await applyObjects([
      pod('blue1', { network: 'blue' }, 'n1'),
      pod('blue2', { network: 'blue', perfTier: 'high' }, 'n1'),
      pod('blue3', { network: 'blue' }, 'n2'),
      pod('green1', { network: 'green' }, 'n1'),
    ])
    await running(60)
    const address = async (name: string): Promise<string> =>
      kubectl(['get', 'pod', name, '-o', 'jsonpath={.status.podIP}'])
    const pings = async (from: string, to: string): Promise<boolean> =>
      kubectl(['exec', from, '--', 'ping', '-c', '1', '-W', '2', await address(to)]).then(() => true, () => false) // prettier-ignore
    expect(await address('green1')).toMatch(/^10\.31\.0\./)
    for (const to of ['blue2', 'blue3']) await expect.poll(() => pings('blue1', to), { timeout: 60_000 }).toBe(true)
    expect(await pings('blue1', 'green1')).toBe(false)
    await nothingLeft()
  })

  test('sixty at once have sixty addresses, and leave nothing behind', async () => {
    await applyObjects(Array.from({ length: 60 }, (_, index) => pod(`many${index}`, { network: 'blue' })))
    await running(400)
    const given = await addresses()
    expect(new Set(given).size).toBe(60)
    expect(given.every((address) => address.startsWith('10.30.0.'))).toBe(true)
    await nothingLeft()
  }, 900_000)

  test('are shown by dctl with a kubeconfig and rights of the cluster alone, live figures too', async () => {
    await applyObjects([pod('shown', { network: 'blue', perfTier: 'high' }, 'n2')])
    await running(60)
    const [name] = (await kubectl(['get', 'endpoints.carbonado.io', '-o', 'jsonpath={.items[*].metadata.name}'])).split(
      ' ',
    )
    await kubectl(['create', 'serviceaccount', 'ann'])
    const kubeconfig = await kubeconfigWithToken((await kubectl(['create', 'token', 'ann'])).trim())
    const dctl = async (...args: string[]): Promise<{ exitCode: number; stdout: string; stderr: string }> => {
      const program = [
        'env',
        `KUBECONFIG=${kubeconfig}`,
        process.execPath,
        join(projectRoot, 'dist', 'dctl.js'),
        ...args,
      ]
      return exec(program as [string, ...string[]], { deadline: 60_000 }).then(
        ({ stdout, stderr }) => ({ exitCode: 0, stdout, stderr }),
        (error: ExecError) => ({ exitCode: error.exitCode ?? -1, stdout: error.stdout, stderr: error.stderr }),
      )
    }
    expect(await dctl('endpoint', 'list')).toMatchObject({ stderr: expect.stringMatching(/forbidden/i) as string })
    await kubectl([
      'create',
      'clusterrolebinding',
      'ann',
      '--clusterrole=carbonado-viewer',
      '--serviceaccount=default:ann',
    ])
    await expect.poll(async () => (await dctl('endpoint', 'list')).stdout, { timeout: 20_000 }).toContain(name)
    expect((await dctl('endpoint', 'list', '-o', 'wide')).stderr).toContain('carbonado-live')
    const live = ['create', 'rolebinding', 'ann', '--role=carbonado-live', '--serviceaccount=default:ann']
    await kubectl(['-n', 'carbonado-system', ...live])
    await expect.poll(async () => (await dctl('endpoint', 'list', '-o', 'wide')).stderr, { timeout: 20_000 }).toBe('')
    const described = await dctl('endpoint', 'describe', name!, '-o', 'json')
    expect(described).toMatchObject({ exitCode: 0, stderr: '' })
    expect(JSON.parse(described.stdout)).toMatchObject({ live: { bandwidthFloor: 500e6 } })
    // the same way leads to nothing else: what users have stored stays closed, and so does what changes something
    const deleted = await dctl('endpoint', 'delete', name!, '-f', '-y')
    expect(deleted.stderr).toMatch(/forbidden/i)
    await nothingLeft()
  })

  test('have metrics, for whoever the cluster lets read those', async () => {
    await applyObjects([pod('metered', { network: 'blue', perfTier: 'high' }, 'n1')])
    await running(60)
    await kubectl(['create', 'serviceaccount', 'scraper'])
    const token = (await kubectl(['create', 'token', 'scraper'])).trim()
    expect((await scrape('n1', token)).code).toBe(401)
    await kubectl(['create', 'clusterrole', 'scraper', '--verb=get', '--non-resource-url=/metrics'])
    await kubectl(['create', 'clusterrolebinding', 'scraper', '--clusterrole=scraper', '--serviceaccount=default:scraper']) // prettier-ignore
    // the refusal is remembered for a minute, for that token
    const other = (await kubectl(['create', 'token', 'scraper'])).trim()
    await expect.poll(async () => (await scrape('n1', other)).code, { timeout: 20_000 }).toBe(200)
    expect((await scrape('n1', other)).text).toMatch(/^carbonado_endpoint_.*namespace="default"/m)
    expect((await scrape('n1', other, '/v1/endpoints')).code).toBe(401)
    expect((await scrape('n1', 'no token')).code).toBe(401)
    await nothingLeft()
  })

  test('are kept by agents that each speak for their own node, and for no other', async () => {
    const agentOf = (node: string): Promise<string> =>
      kubectl(['-n', 'carbonado-system', 'get', 'pod', '-l', 'app.kubernetes.io/component=agent', '--field-selector', `spec.nodeName=${node}`, '-o', 'jsonpath={.items[0].metadata.name}']) // prettier-ignore
    const bound = ['--bound-object-kind=Pod', `--bound-object-name=${await agentOf('n1')}`]
    const tokenOfFirst = async (...options: string[]): Promise<string> =>
      (await kubectl(['-n', 'carbonado-system', 'create', 'token', 'carbonado-agent', ...options])).trim()

    const kubeconfig = await kubeconfigWithToken(await tokenOfFirst(...bound))
    const asFirst = async (...args: string[]): Promise<string> =>
      exec([programs.kubernetes('kubectl'), `--kubeconfig=${kubeconfig}`, ...args], { deadline: 60_000 }).then(
        ({ stdout }) => stdout,
        (error: ExecError) => error.stderr,
      )
    const patched = (name: string, status: object): Promise<string> =>
      asFirst('patch', 'nodes.carbonado.io', name, '--subresource=status', '--type=merge', '-p', JSON.stringify({ status })) // prettier-ignore
    expect(await asFirst('annotate', 'nodes.carbonado.io', 'n1', 'a=b')).toMatch(/annotated/)
    expect(await asFirst('annotate', 'nodes.carbonado.io', 'n2', 'a=b')).toMatch(
      /agent of node n1.*may not write node n2/,
    )
    expect(await patched('n1', { agent: { version: 'other' } })).toMatch(/patched/)
    expect(await patched('n1', { ready: null })).toMatch(/may not change status\.ready/)
    expect(await patched('n2', { agent: { version: 'other' } })).toMatch(/nodes n2 is on node "n2", the token is of node "n1"/) // prettier-ignore

    const spec = { volumeName: 'none', volumeUid: 'none', nodeName: 'n1', driveName: 'n1.none', poolId: 'none', size: 1, iopsFloor: 0 } // prettier-ignore
    // without the finalizer control would remove it at once: there is no such volume
    const plex = {
      apiVersion: 'carbonado.io/v1alpha1',
      kind: 'Plex',
      metadata: { name: 'none.p0', finalizers: ['example.com/kept'] },
      spec,
    }
    await applyObjects([plex])
    expect(await asFirst('annotate', 'plexes.carbonado.io', 'none.p0', 'a=b')).toMatch(/annotated/)
    const moved = JSON.stringify({ spec: { nodeName: 'n2' } })
    expect(await asFirst('patch', 'plexes.carbonado.io', 'none.p0', '--type=merge', '-p', moved)).toMatch(
      /may not change the spec of a plex/,
    )
    const released = JSON.stringify({ metadata: { finalizers: null } })
    await kubectl(['patch', 'plexes.carbonado.io', 'none.p0', '--type=merge', '-p', released])
    await kubectl(['delete', 'plexes.carbonado.io', 'none.p0', '--ignore-not-found'])

    const listening = await kubectl(['get', 'nodes.carbonado.io', 'n2', '-o', 'jsonpath={.status.agent.address}'])
    const limits = { sequence: 1, lease: 1000, limits: [] }
    /** What the agent of n2 says to limits in the name of a node. */
    const told = async (receivingNode: string, token: string): Promise<string> => {
      const request = ['-X', 'PUT', '-H', `authorization: Bearer ${token}`, '-d', JSON.stringify({ receivingNode, ...limits })] // prettier-ignore
      const { stdout } = await lab.nodeExec('n1', ['curl', '-sk', '-w', '%{http_code}', '-o', '/dev/null', ...request, `https://${listening}/v1/receive-limits`]) // prettier-ignore
      return stdout
    }
    const peerToken = await tokenOfFirst(...bound, '--audience=carbonado.io/agents')
    expect(await told('n1', peerToken)).toBe('200')
    expect(await told('n3', peerToken)).toBe('403')
    // one for the API server, and one that is of no pod
    expect(await told('n1', await tokenOfFirst(...bound))).toBe('401')
    expect(await told('n1', await tokenOfFirst('--audience=carbonado.io/agents'))).toBe('401')
  })
})
