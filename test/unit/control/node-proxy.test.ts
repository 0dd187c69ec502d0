import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Node } from '../../../src/api/index.ts'
import { silentLogger } from '../../../src/base/index.ts'
import { checkConfig } from '../../../src/control/config.ts'
import { startControl, type Control } from '../../../src/control/control.ts'
import { RestStore } from '../../../src/store/index.ts'
import { startAgentServer, type AgentServer } from '../../support/agent-server.ts'
import { makeCertificate, makeControlFiles, testTokens, type ControlFiles } from '../../support/control-files.ts'

let files: ControlFiles
let control: Control
let agent: AgentServer
let viewer: RestStore
const asked: { url: string; authorization: string | undefined }[] = []

beforeAll(async () => {
  files = await makeControlFiles()
  const agentTokenFile = join(files.folder, 'agent-token')
  writeFileSync(agentTokenFile, 'token-that-agents-know\n')
  const config = checkConfig({ ...files.config, agentCaFile: files.certificateFile, agentTokenFile }, 'of the test')
  control = await startControl(config, { logger: silentLogger(), features: [] })
  agent = await startAgentServer(files.certificateFile, files.keyFile, (request, response) => {
    asked.push({ url: request.url!, authorization: request.headers.authorization })
    if (request.method === 'POST')
      return void request.pipe(response.writeHead(200, { 'content-type': 'application/json' }))
    const code = request.url === '/v1/missing' ? 404 : 200
    response.writeHead(code, { 'content-type': 'application/json' }).end('{"endpoints":[]}')
  })
  const server = `unix://${files.folder}/control.sock`
  viewer = new RestStore({ server, token: testTokens.viewer })
  await addNode('n1', agent.address)
})

afterAll(async () => {
  await viewer.close()
  await control.stop()
  agent.close()
  files[Symbol.dispose]()
})

async function addNode(name: string, address?: string): Promise<void> {
  const spec = { uplinks: { pods: { interface: 'eth0' } }, maximumInterfaces: 10 }
  await control.store.create(Node, { metadata: { name }, spec })
  if (address === undefined) return
  const times = { heartbeat: '2026-01-01T00:00:00Z', version: '1' }
  const status = { agent: { ...times, address, linkRate: 1, mtu: 1500, carrier: true, problems: [] } }
  await control.store.patch(Node, { name }, { status }, { subresource: 'status' })
}

const ask = (node: string, path: string): Promise<unknown> =>
  viewer.getJson(`/apis/carbonado.io/v1alpha1/nodes/${node}/proxy/${path}`)

test("a GET reaches the agent with control's own token, not the caller's", async () => {
  expect(await ask('n1', 'v1/endpoints?namespace=shop')).toEqual({ endpoints: [] })
  expect(asked.at(-1)).toEqual({ url: '/v1/endpoints?namespace=shop', authorization: 'Bearer token-that-agents-know' })
})

test("the agent's own refusals are passed on", async () => {
  await expect(ask('n1', 'v1/missing')).rejects.toThrow(expect.objectContaining({ code: 'NotFound' }))
})

test.each(['../../secret', '%2e%2e/secret', 'v1/%2e%2e/%2e%2e/x', 'v1/a%0d%0aX-Evil:1', 'v1/a%3Fb', 'v1\\..'])(
  'the path %s goes nowhere',
  async (path) => {
    const before = asked.length
    await expect(ask('n1', path)).rejects.toThrow()
    expect(asked).toHaveLength(before)
  },
)

test('a node that is not there, has no agent, or whose agent is gone is told apart', async () => {
  await addNode('without-agent')
  await addNode('gone', '127.0.0.1:1')
  await addNode('odd', 'evil.example/path?:80')
  await expect(ask('unknown', 'v1/check')).rejects.toThrow(expect.objectContaining({ code: 'NotFound' }))
  for (const node of ['without-agent', 'gone', 'odd']) {
    await expect(ask(node, 'v1/check')).rejects.toThrow(expect.objectContaining({ code: 'Unavailable' }))
  }
})

test('an agent whose certificate nobody vouches for never sees the token', async () => {
  const [certificate, key] = [join(files.folder, 'other.crt'), join(files.folder, 'other.key')]
  await makeCertificate(certificate, key)
  let reached = false
  const impostor = await startAgentServer(certificate, key, (_request, response) => {
    reached = true
    response.end('{}')
  })
  await addNode('impostor', impostor.address)
  await expect(ask('impostor', 'v1/check')).rejects.toThrow(expect.objectContaining({ code: 'Unavailable' }))
  expect(reached).toBe(false)
  impostor.close()
})

test('probes pass for operators, with their body, and nothing else is posted', async () => {
  const operator = new RestStore({ server: `unix://${files.folder}/control.sock`, token: testTokens.operator })
  const path = '/apis/carbonado.io/v1alpha1/nodes/n1/proxy/v1'
  const body = { endpoint: 'u1', to: '10.0.0.1' }
  expect(await operator.request('POST', `${path}/probe`, body)).toEqual(body)
  const before = asked.length
  await expect(viewer.request('POST', `${path}/probe`, body)).rejects.toThrow(
    expect.objectContaining({ code: 'Forbidden' }),
  )
  await expect(operator.request('POST', `${path}/endpoints`, body)).rejects.toThrow()
  await expect(operator.request('DELETE', `${path}/probe`)).rejects.toThrow()
  expect(asked).toHaveLength(before)
  await operator.close()
})
