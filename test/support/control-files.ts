import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exec } from '../../src/base/index.ts'
import { checkConfig, type ControlConfig } from '../../src/control/config.ts'

/** Tokens of the test users, by role. */
export const testTokens = {
  admin: 'admin-token-of-the-test',
  operator: 'operator-token-of-the-test',
  viewer: 'viewer-token-of-the-test',
  agent: 'agent-token-of-the-test',
} as const

/** A folder with all that control needs to run, removed on disposal. */
export interface ControlFiles {
  folder: string
  certificateFile: string
  keyFile: string
  config: ControlConfig
  configFile: string
  [Symbol.dispose](): void
}

/** Makes certificate, tokens and configuration for a control on a free port and a unix socket. */
export async function makeControlFiles(overrides: Partial<ControlConfig> = {}): Promise<ControlFiles> {
  const folder = mkdtempSync(join(tmpdir(), 'carbonado-control-'))
  const file = (name: string): string => join(folder, name)
  const [certificateFile, keyFile] = [file('tls.crt'), file('tls.key')]
  await makeCertificate(certificateFile, keyFile)
  const tokens = Object.entries(testTokens).map(([role, token]) => ({
    token,
    user: `${role}-user`,
    role,
    ...(role === 'agent' ? { nodeName: 'n1' } : {}),
  }))
  writeFileSync(file('tokens.json'), JSON.stringify(tokens), { mode: 0o600 })
  const settings = {
    dataDirectory: file('data'),
    listen: [{ host: '127.0.0.1', port: 0 }, { socketPath: file('control.sock') }],
    tls: { certificateFile, keyFile },
    tokensFile: file('tokens.json'),
    ...overrides,
  }
  writeFileSync(file('control.json'), JSON.stringify(settings))
  return {
    folder,
    certificateFile,
    keyFile,
    config: checkConfig(settings, 'of the test'),
    configFile: file('control.json'),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** Makes a self-signed certificate for 127.0.0.1 and localhost; it is its own authority. */
export async function makeCertificate(certificateFile: string, keyFile: string): Promise<void> {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', keyFile]
  const subject = ['-subj', '/CN=carbonado-test', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost', '-days', '2']
  await exec(['openssl', 'req', '-x509', ...key, ...subject, '-out', certificateFile])
}
