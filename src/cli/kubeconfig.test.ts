import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { kubeconfigFile, readKubeconfig } from './kubeconfig.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'carbonado-kubeconfig-'))
  writeFileSync(join(folder, 'ca.crt'), 'THE AUTHORITY')
})
afterAll(() => rmSync(folder, { recursive: true }))

const base64 = (text: string): string => Buffer.from(text).toString('base64')

function written(user: string, cluster = 'certificate-authority: ca.crt', current = 'lab'): string {
  const file = join(folder, 'config')
  writeFileSync(
    file,
    `apiVersion: v1
kind: Config
current-context: ${current}
contexts:
- name: lab
  context: {cluster: c, user: u}
clusters:
- name: c
  cluster:
    server: https://10.0.0.1:6443
    ${cluster}
users:
- name: u
  user:
    ${user}
`,
  )
  return file
}

test('a token, and an authority in a file beside it', () => {
  expect(readKubeconfig(written('token: abc'))).toEqual({
    server: 'https://10.0.0.1:6443',
    ca: 'THE AUTHORITY',
    token: 'abc',
    clientCertificate: undefined,
    clientKey: undefined,
    insecure: false,
  })
})

test('a client certificate, and everything in the file itself', () => {
  const user = `client-certificate-data: ${base64('CERTIFICATE')}\n    client-key-data: ${base64('KEY')}`
  expect(readKubeconfig(written(user, `certificate-authority-data: ${base64('CA')}`))).toMatchObject({
    ca: 'CA',
    clientCertificate: 'CERTIFICATE',
    clientKey: 'KEY',
    token: undefined,
  })
})

test.each([
  ['a user who is signed in by another program', () => written('exec: {command: aws}'), 'signed in by another program'],
  ['a context that is not there', () => written('token: a', undefined, 'other'), 'no current context'],
  ['a file that is not there', () => written('token: a', 'certificate-authority: none.crt'), 'none.crt'],
  ['no kubeconfig at all', () => join(folder, 'nothing'), 'cannot be read'],
  ['a certificate instead of one', () => join(folder, 'ca.crt'), 'is not a kubeconfig'],
])('refuses %s', (_what, file, message) => {
  expect(() => readKubeconfig(file())).toThrow(message)
})

test('$KUBECONFIG may name several files, of which the first is read', () => {
  expect(kubeconfigFile({ KUBECONFIG: '/a:/b' })).toBe('/a')
  expect(kubeconfigFile({ KUBECONFIG: '' })).toBeUndefined()
  expect(kubeconfigFile({})).toBeUndefined()
})
