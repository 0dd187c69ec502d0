import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { exec } from '../../src/base/index.ts'
import { authorityFile, issueCertificate, issueClientCertificate, type CertificateFiles } from '../certificates.ts'
import { places } from '../places.ts'
import { controlAddress, nodeAddress } from '../programs.ts'
import { writeJson } from '../state.ts'
import { apiServerPort, clusterNetwork, kubernetesPlaces } from './places.ts'

/** Users of the cluster that the lab itself makes, with their groups. */
const users: Record<string, { name: string; group?: string }> = {
  admin: { name: 'admin', group: 'system:masters' },
  'controller-manager': { name: 'system:kube-controller-manager' },
  scheduler: { name: 'system:kube-scheduler' },
  proxy: { name: 'system:kube-proxy' },
  'apiserver-kubelet': { name: 'kube-apiserver-kubelet-client', group: 'system:masters' },
  'front-proxy': { name: 'front-proxy-client' },
}

/** Certificate and key of a user or server of the cluster. */
export function certificateOf(name: string): CertificateFiles {
  const file = (extension: string): string => join(places.certificates, `kubernetes-${name}.${extension}`)
  return { certificateFile: file('crt'), keyFile: file('key') }
}

/** Key pair that signs the tokens of service accounts. */
export const serviceAccountKey = join(places.certificates, 'service-accounts.key')

/** Makes all certificates, keys and kubeconfigs of the cluster. */
export async function createCredentials(nodes: string[]): Promise<void> {
  mkdirSync(kubernetesPlaces.folder, { recursive: true, mode: 0o700 })
  const names = ['kubernetes', 'kubernetes.default', 'kubernetes.default.svc', 'kubernetes.default.svc.cluster.local']
  await Promise.all([
    exec(['openssl', 'genrsa', '-out', serviceAccountKey, '2048']),
    issueCertificate('kubernetes-apiserver', [controlAddress, clusterNetwork.apiServerService], names),
    ...Object.entries(users).map(async ([user, { name, group }]) => {
      await issueClientCertificate(`kubernetes-${user}`, name, group)
      writeKubeconfig(user)
    }),
    ...nodes.map(async (node) => {
      await issueClientCertificate(`kubernetes-${node}`, `system:node:${node}`, 'system:nodes')
      await issueCertificate(`kubernetes-${node}-server`, [nodeAddress(node)], [node])
      writeKubeconfig(node)
    }),
  ])
}

function writeKubeconfig(user: string): void {
  const base64 = (file: string): string => readFileSync(file).toString('base64')
  const { certificateFile, keyFile } = certificateOf(user)
  writeJson(kubernetesPlaces.kubeconfig(user), {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'lab',
    clusters: [
      {
        name: 'lab',
        cluster: {
          server: `https://${controlAddress}:${apiServerPort}`,
          'certificate-authority-data': base64(authorityFile),
        },
      },
    ],
    contexts: [{ name: 'lab', context: { cluster: 'lab', user } }],
    users: [
      {
        name: user,
        user: { 'client-certificate-data': base64(certificateFile), 'client-key-data': base64(keyFile) },
      },
    ],
  })
}
