import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { PerfTier } from '../../../src/api/index.ts'
import { RestStore } from '../../../src/store/index.ts'
import { testTokens } from '../../support/control-files.ts'
import { Cluster } from './cluster.ts'

let cluster: Cluster

beforeAll(async () => {
  cluster = await Cluster.start()
})
beforeEach(() => {
  writeFileSync(cluster.configFile, JSON.stringify(cluster.connection))
})
afterAll(() => cluster[Symbol.asyncDispose]())

const withToken = (token: string): { DCTL_TOKEN: string } => ({ DCTL_TOKEN: token })

describe('whoami', () => {
  it.each([
    ['admin', 'everything'],
    ['operator', 'not delete nodes'],
    ['viewer', 'read everything'],
    ['agent', 'its own node'],
  ] as const)('tells a %s so', async (role, rights) => {
    const run = await cluster.dctl('whoami', withToken(testTokens[role]))
    expect(run.exitCode).toBe(0)
    expect(run.output).toMatch(new RegExp(`User: +${role}-user\nRole: +${role}: .*${rights}`))
    expect(run.output.includes('Node:')).toBe(role === 'agent')
  })

  it('answers in the shape of kube-apiserver', async () => {
    const { status } = JSON.parse(await cluster.done('whoami -o json')) as { status: object }
    expect(status).toEqual({
      userInfo: {
        username: 'admin-user',
        groups: ['carbonado.io:admin', 'system:authenticated'],
        extra: { 'carbonado.io/role': ['admin'] },
      },
    })
    expect(await cluster.dctl('whoami', withToken('unknown-token-of-nobody'))).toMatchObject({
      exitCode: 6,
      output: '',
    })
  })
})

describe('tokens', () => {
  it('are made, work at once, are listed without the token, and prove nothing when deleted', async () => {
    const made = await cluster.dctl('token create ann --role viewer --ttl 90d')
    expect(made.exitCode).toBe(0)
    expect(made.errors).toContain('It is shown only now')
    const token = made.output.trim()
    expect(token).toMatch(/^[-\w]{43}$/)
    expect((await cluster.dctl('whoami', withToken(token))).output).toMatch(/User: +ann\nRole: +viewer/)
    const list = await cluster.done('token list')
    expect(list).toMatch(/ann +ann +viewer +- +issued +in (89|90)d/)
    expect(list).toMatch(/agent-user +agent-user +agent +n1 +file +never/)
    expect(list + (await cluster.done('token list -o json'))).not.toContain(token)
    expect(await cluster.dctl('token delete ann')).toMatchObject({ exitCode: 2 })
    expect(await cluster.done('token delete ann -y')).toBe('token ann deleted\n')
    expect(await cluster.dctl('whoami', withToken(token))).toMatchObject({ exitCode: 6 })
    expect(await cluster.dctl('token delete ann -y')).toMatchObject({ exitCode: 3 })
  })

  it('take their watches with them', async () => {
    const token = (await cluster.dctl('token create watcher --role viewer')).output.trim()
    const { server, caFile } = cluster.connection
    const client = new RestStore({ server, caFile, token })
    const { resourceVersion } = await client.list(PerfTier)
    let ended = false
    const watching = (async () => {
      for await (const _event of client.watch(PerfTier, { resourceVersion }));
      ended = true
    })()
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(ended).toBe(false)
    await cluster.done('token delete watcher -y')
    await watching
    await expect(client.list(PerfTier)).rejects.toThrow(expect.objectContaining({ code: 'Forbidden' }))
    await client.close()
  })

  it('of agents carry their node', async () => {
    expect(await cluster.dctl('token create --role agent')).toMatchObject({ exitCode: 2 })
    const created = JSON.parse(await cluster.done('token create --role agent -n n7 -o json')) as {
      metadata: { name: string }
      status: { token: string }
    }
    const who = await cluster.dctl('whoami', withToken(created.status.token))
    expect(who.output).toMatch(/User: +system:node:n7\nRole: +agent.*\nNode: +n7/)
    await cluster.done(`token delete ${created.metadata.name} -y`)
  })

  it.each(['operator', 'viewer', 'agent'] as const)('are not the business of a role %s', async (role) => {
    for (const line of ['token list', 'token create x --role admin', 'token delete ann -y']) {
      expect(await cluster.dctl(line, withToken(testTokens[role]))).toMatchObject({ exitCode: 6, output: '' })
    }
  })

  it.each([
    ['token create x --role root', 'spec.role'],
    ['token create x', "required option '--role <role>' not specified"],
    ['token create x --role viewer --ttl 5', '--ttl "5"'],
    ['token create x --role viewer --ttl 1s', '--ttl "1s"'],
    ['token create x --role viewer --ttl 9999999999d', '--ttl'],
    ['token create x --role viewer --ttl -1d', '--ttl "-1d"'],
    ['token create X_Y --role viewer', 'metadata.name'],
    ['token create x --role viewer -n n1', 'has no nodeName'],
  ])('%s is refused', async (line, text) => {
    const run = await cluster.dctl(line)
    expect(run).toMatchObject({ exitCode: 2, output: '' })
    expect(run.errors).toContain(text)
  })
})

describe('config', () => {
  const file = (): string => join(cluster.files.folder, 'own', 'dctl.json')
  const own = (line: string): ReturnType<Cluster['dctl']> => cluster.dctl(line, { DCTL_CONFIG: file() })

  it('keeps a cluster, then a login, for the owner only; another server drops the token', async () => {
    const { server, caFile } = cluster.connection
    expect(await own(`config set-cluster main -s ${server} --ca-cert ${caFile}`)).toMatchObject({ exitCode: 0 })
    expect(await own(`login --token ${testTokens.viewer}`)).toMatchObject({
      exitCode: 0,
      output: expect.stringContaining('as viewer-user') as string,
    })
    expect(statSync(file()).mode & 0o777).toBe(0o600)
    expect((await own('whoami')).output).toContain('viewer-user')
    const again = await own(`login --token ${testTokens.viewer} -o json`)
    expect(JSON.parse(again.output)).toEqual({ server, user: 'viewer-user', file: file() })
    const view = await own('config view')
    expect(view.output).toContain(server)
    expect(view.output + (await own('config view -o json')).output).not.toContain(testTokens.viewer)
    expect((await own(`config set-cluster --ca-cert ${caFile}`)).errors).toBe('')
    expect((await own('config set-cluster --virtual-ip 10.9.9.9')).errors).toContain('token of the other server')
    expect(JSON.parse(readFileSync(file(), 'utf8'))).toEqual({ server: 'https://10.9.9.9:7443', caFile })
    rmSync(file())
  })

  it('login makes a file that is named and not there yet', async () => {
    const { server, caFile } = cluster.connection
    expect(await own(`login -s ${server} --ca-cert ${caFile} --token ${testTokens.viewer}`)).toMatchObject({
      exitCode: 0,
    })
    expect(existsSync(file())).toBe(true)
  })

  it('says what is wrong', async () => {
    expect(await cluster.dctl('config set-cluster')).toMatchObject({ exitCode: 2 })
    expect(await cluster.dctl('config set-cluster -s http://x')).toMatchObject({ exitCode: 2 })
    expect(await cluster.dctl('login --token a --token-file b')).toMatchObject({ exitCode: 2 })
    expect((await cluster.dctl('login -u admin -p secret -n x')).errors).toContain('there are no passwords yet')
  })
})

describe('perf-tier update', () => {
  it('changes what is named, removes caps with 0, and refuses what makes no sense', async () => {
    await cluster.done('perf-tier create gold -b 0.5G -B 2G -l kind=fast')
    const spec = async (): Promise<object> => (await cluster.control.store.get(PerfTier, { name: 'gold' })).spec
    expect(await cluster.done('perf-tier update gold -b 800M')).toBe('perf-tier gold updated\n')
    expect(await spec()).toEqual({ networkBandwidth: '800M', maxNetworkBandwidth: '2G' })
    await cluster.done('perf-tier update gold -B 0 -l more=1')
    expect(await spec()).toEqual({ networkBandwidth: '800M' })
    expect((await cluster.control.store.get(PerfTier, { name: 'gold' })).metadata.labels).toEqual({
      kind: 'fast',
      more: '1',
    })
    expect(await cluster.dctl('perf-tier update gold -B 100M')).toMatchObject({ exitCode: 2 })
    expect(await cluster.dctl('perf-tier update gold')).toMatchObject({ exitCode: 2 })
    expect(await cluster.dctl('perf-tier update nothing -b 1M')).toMatchObject({ exitCode: 3 })
    expect(await spec()).toEqual({ networkBandwidth: '800M' })
    await cluster.done('perf-tier delete gold -y')
  })
})
