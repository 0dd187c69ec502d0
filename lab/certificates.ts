import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { exec } from '../src/base/index.ts'
import { places } from './places.ts'

/** Where the parts of a certificate lie. */
export interface CertificateFiles {
  certificateFile: string
  keyFile: string
}

/** The lab's own certificate authority, in PEM; made by `createAuthority`. */
export const authorityFile = join(places.certificates, 'ca.crt')

const authorityKey = join(places.certificates, 'ca.key')
const signedByAuthority = ['-CA', authorityFile, '-CAkey', authorityKey]
const configuration = join(places.certificates, 'openssl.cnf')

/** openssl wants a configuration; the machine's own must not decide what is in the lab's certificates. */
const emptyConfiguration = '[req]\ndistinguished_name = name\n[name]\n'

/** Makes the certificate authority of the lab, valid for a year. */
export async function createAuthority(): Promise<void> {
  mkdirSync(places.certificates, { recursive: true, mode: 0o700 })
  writeFileSync(configuration, emptyConfiguration)
  await request('ca', '/CN=carbonado lab', [
    'basicConstraints=critical,CA:TRUE',
    'keyUsage=critical,keyCertSign,cRLSign',
    'subjectKeyIdentifier=hash',
  ])
}

/** Makes a certificate by which a client says who it is: its name, and a group that it is in. */
export function issueClientCertificate(file: string, name: string, group?: string): Promise<CertificateFiles> {
  const extensions = ['basicConstraints=critical,CA:FALSE', 'extendedKeyUsage=clientAuth']
  return request(file, `${group ? `/O=${group}` : ''}/CN=${name}`, extensions, signedByAuthority)
}

/** Makes a server certificate for names and addresses, `localhost` and the loopback addresses included. */
export async function issueCertificate(
  name: string,
  addresses: string[],
  names: string[] = [],
): Promise<CertificateFiles> {
  const subjects = [
    ...[...addresses, '127.0.0.1', '::1'].map((address) => `IP:${address}`),
    ...[name, ...names, 'localhost'].map((dnsName) => `DNS:${dnsName}`),
  ]
  return request(
    name,
    `/CN=${name}`,
    [
      `subjectAltName=${subjects.join(',')}`,
      'basicConstraints=critical,CA:FALSE',
      'extendedKeyUsage=serverAuth,clientAuth',
      'authorityKeyIdentifier=keyid',
    ],
    signedByAuthority,
  )
}

async function request(
  name: string,
  subject: string,
  extensions: string[],
  signer: string[] = [],
): Promise<CertificateFiles> {
  const files = {
    certificateFile: join(places.certificates, `${name}.crt`),
    keyFile: join(places.certificates, `${name}.key`),
  }
  if (existsSync(files.certificateFile)) return files
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', files.keyFile]
  const extras = extensions.flatMap((extension) => ['-addext', extension])
  const common = ['-config', configuration, '-x509', '-days', '365', '-subj', subject, '-out', files.certificateFile]
  await exec(['openssl', 'req', ...common, ...signer, ...key, ...extras])
  chmodSync(files.keyFile, 0o600)
  return files
}
