import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Network } from '../../src/api/index.ts'
import { exec, silentLogger } from '../../src/base/index.ts'
import { checkConfig } from '../../src/control/config.ts'
import { startControl, type Control } from '../../src/control/control.ts'
import { features } from '../../src/control/features.ts'
import { programs } from '../../lab/kubernetes/index.ts'
import { makeControlFiles, testTokens, type ControlFiles } from '../support/control-files.ts'

let files: ControlFiles
let control: Control

beforeAll(async () => {
  files = await makeControlFiles()
  control = await startControl(checkConfig(files.config, 'of the test'), { logger: silentLogger(), features })
  await control.store.create(Network, {
    metadata: { name: 'blue' },
    spec: { subnets: [{ cidr: '10.30.0.0/24', ranges: [], gateway: '10.30.0.1' }], vlan: 100, plane: 'pods', isDefault: false }, // prettier-ignore
  })
})
afterAll(async () => {
  await control?.stop()
  files?.[Symbol.dispose]()
})

async function kubectl(...args: string[]): Promise<string> {
  const server = control.urls.find((url) => url.startsWith('https:'))!
  const access = [
    `--server=${server}`,
    `--certificate-authority=${files.certificateFile}`,
    `--token=${testTokens.admin}`,
  ]
  const home = { HOME: files.folder, KUBECONFIG: join(files.folder, 'none'), PATH: process.env.PATH }
  const { stdout } = await exec([programs.kubernetes('kubectl'), ...access, ...args], { env: home, deadline: 30_000 })
  return stdout
}

test('kubectl shows columns of control without Kubernetes', async () => {
  const lines = (await kubectl('get', 'networks')).trim().split('\n')
  expect(lines[0]!.split(/\s+/)).toEqual(expect.arrayContaining(['NAME', 'VLAN', 'SUBNET', 'GATEWAY', 'AGE']))
  expect(lines[1]!.split(/\s+/)).toEqual(expect.arrayContaining(['blue', '100', '10.30.0.0/24', '10.30.0.1']))
  expect(await kubectl('get', 'network', 'blue', '-o', 'wide')).toContain('blue')
  expect(await kubectl('get', 'networks,perftiers', '-o', 'name')).toContain('network.carbonado.io/blue')
})

test('kubectl makes, changes and deletes', async () => {
  const file = join(files.folder, 'tier.json')
  const tier = {
    apiVersion: 'carbonado.io/v1alpha1',
    kind: 'PerfTier',
    metadata: { name: 'gold' },
    spec: { networkBandwidth: '1G' },
  }
  writeFileSync(file, JSON.stringify(tier))
  await kubectl('create', '--validate=false', '-f', file)
  await kubectl('patch', 'perftier', 'gold', '--type=merge', '-p', '{"metadata":{"labels":{"a":"b"}}}')
  expect(await kubectl('get', 'perftiers', '-l', 'a=b', '-o', 'name')).toBe('perftier.carbonado.io/gold\n')
  await kubectl('delete', 'perftier', 'gold')
  expect(await kubectl('get', 'perftiers', '-o', 'name')).not.toContain('gold')
})
