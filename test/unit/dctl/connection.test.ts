import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { normalizeServer, parseConfig } from '../../../src/cli/connection.ts'
import { testTokens } from '../../support/control-files.ts'
import { Cluster } from './cluster.ts'

let cluster: Cluster
let tokenFile: string

beforeAll(async () => {
  cluster = await Cluster.start()
  tokenFile = join(cluster.files.folder, 'token')
  writeFileSync(tokenFile, `${testTokens.viewer}\n`)
})
beforeEach(() => {
  writeFileSync(cluster.configFile, JSON.stringify(cluster.connection))
})
afterAll(() => cluster[Symbol.asyncDispose]())

describe('server addresses', () => {
  it.each([
    ['10.0.0.1', 'https://10.0.0.1:7443'],
    ['10.0.0.1:8443', 'https://10.0.0.1:8443'],
    ['https://control.example:443/', 'https://control.example:443'],
    ['fd00::1', 'https://[fd00::1]:7443'],
    ['[fd00::1]:99', 'https://[fd00::1]:99'],
    ['unix:///run/control.sock', 'unix:///run/control.sock'],
  ])('makes of %s %s', (text, expected) => {
    expect(normalizeServer(text)).toBe(expected)
  })

  it.each(['', 'http://10.0.0.1', 'https://a/b', 'a b', 'unix://relative', '10.0.0.1:port', 'https://u:p@a'])(
    'refuses %j',
    (text) => {
      expect(() => normalizeServer(text)).toThrow('is not an address of control')
    },
  )
})

describe('configuration files', () => {
  it.each(['', '{', '[]', '{"sever": "x"}', '{"server": 1}', 'null'])('refuses %j', (text) => {
    expect(() => parseConfig('/etc/dctl.json', text)).toThrow('/etc/dctl.json')
  })

  it('takes a relative authority from the folder of the file', () => {
    expect(parseConfig('/etc/x/dctl.json', '{"caFile": "ca.pem"}').caFile).toBe('/etc/x/ca.pem')
  })

  it('finds the one in the home folder', async () => {
    const file = join(cluster.files.folder, '.config', 'carbonado', 'dctl.json')
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, JSON.stringify(cluster.connection))
    expect(await cluster.dctl('network list', { DCTL_CONFIG: '' })).toMatchObject({ exitCode: 0 })
  })

  it('says which one is missing', async () => {
    const run = await cluster.dctl('network list --dctlconfig /nowhere/dctl.json')
    expect(run.exitCode).toBe(2)
    expect(run.errors).toContain('/nowhere/dctl.json')
  })
})

describe('connections', () => {
  it('works over TLS and over the unix socket, flags before and after the verb', async () => {
    const socket = cluster.control.urls.find((url) => url.startsWith('unix'))!
    const token = { DCTL_TOKEN: testTokens.viewer }
    expect(await cluster.dctl(`-s ${socket} network list`, token)).toMatchObject({ exitCode: 0 })
    expect(await cluster.dctl(`network list -s ${cluster.connection.server}`)).toMatchObject({ exitCode: 0 })
    const host = cluster.connection.server.slice('https://'.length)
    expect(await cluster.dctl('network list', { VIRTUAL_IP: host })).toMatchObject({ exitCode: 0 })
  })

  it('does not give the token of the configuration to another server', async () => {
    const socket = cluster.control.urls.find((url) => url.startsWith('unix'))!
    expect(await cluster.dctl(`-s ${socket} network list`)).toMatchObject({ exitCode: 6 })
  })

  it('does not trust a certificate that nobody vouches for, unless told to', async () => {
    const { server, token } = cluster.connection
    writeFileSync(cluster.configFile, JSON.stringify({ server, token }))
    const run = await cluster.dctl('network list')
    expect(run).toMatchObject({ exitCode: 7, output: '' })
    expect(run.errors).toContain('--ca-cert')
    expect(await cluster.dctl('network list -i')).toMatchObject({ exitCode: 0 })
    expect(await cluster.dctl(`network list --ca-cert ${cluster.files.certificateFile}`)).toMatchObject({ exitCode: 0 })
  })

  it('says that nobody answers, within the time it was given', async () => {
    const started = Date.now()
    const run = await cluster.dctl('network list -s 127.0.0.1:1 --timeout 2s')
    expect(run.exitCode).toBe(7)
    expect(run.errors).toContain('127.0.0.1:1')
    expect(Date.now() - started).toBeLessThan(5_000)
  })

  it('tells a caller without rights so', async () => {
    writeFileSync(cluster.configFile, JSON.stringify({ ...cluster.connection, token: testTokens.viewer }))
    expect(await cluster.dctl('perf-tier create x -b 1M')).toMatchObject({ exitCode: 6 })
    writeFileSync(cluster.configFile, JSON.stringify({ ...cluster.connection, token: 'wrong-token-of-the-test' }))
    const run = await cluster.dctl('network list')
    expect(run.exitCode).toBe(6)
    expect(run.errors).toContain('dctl login')
  })
})

describe('login', () => {
  it('keeps what the server accepted, for its owner only, and logout forgets the token', async () => {
    const file = join(cluster.files.folder, 'new', 'dctl.json')
    const flags = `--dctlconfig ${cluster.configFile} --token-file ${tokenFile}`
    await cluster.done(`login ${flags}`)
    expect(JSON.parse(readFileSync(cluster.configFile, 'utf8'))).toMatchObject({ token: testTokens.viewer })
    expect(statSync(cluster.configFile).mode & 0o777).toBe(0o600)
    expect(await cluster.done('network list')).toContain('NAME')
    await cluster.done('logout')
    expect(await cluster.dctl('network list')).toMatchObject({ exitCode: 6 })
    expect(file).not.toBe(cluster.configFile)
  })

  it('makes the file where there is none, with the token from standard input', async () => {
    const home = join(cluster.files.folder, 'home')
    cluster.input = testTokens.viewer
    const { server, caFile } = cluster.connection
    const environment = { HOME: home, DCTL_CONFIG: '' }
    const run = await cluster.dctl(`login -s ${server} --ca-cert ${caFile} --token-file -`, environment)
    expect(run).toMatchObject({ exitCode: 0 })
    expect(await cluster.dctl('network list', environment)).toMatchObject({ exitCode: 0 })
  })

  it('keeps nothing that the server refuses, and says that there are no passwords yet', async () => {
    const before = readFileSync(cluster.configFile, 'utf8')
    cluster.input = 'not-a-token-of-the-test'
    expect(await cluster.dctl('login --token-file -')).toMatchObject({ exitCode: 6 })
    cluster.input = ''
    expect(await cluster.dctl('login --token-file -')).toMatchObject({ exitCode: 2 })
    const run = await cluster.dctl('login -u admin -p secret')
    expect(run.exitCode).toBe(2)
    expect(run.errors).toContain('there are no passwords yet')
    expect(readFileSync(cluster.configFile, 'utf8')).toBe(before)
  })
})
