import { exec } from '../../src/base/index.ts'
import { projectRoot } from '../places.ts'
import { join } from 'node:path'
import { copyProgram, imageReference, provideImage } from './images.ts'
import { applyObjects, kubectl } from './kubectl.ts'
import { clusterNetwork, programs } from './places.ts'

const name = 'coredns'
const labels = { 'k8s-app': 'kube-dns' }
const metadata = { name, namespace: 'kube-system', labels }

/** As kubeadm sets it up, but for names outside the cluster: the lab knows no other DNS. */
const corefile = `.:53 {
  errors
  health
  ready
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    pods insecure
    fallthrough in-addr.arpa ip6.arpa
    ttl 5
  }
  cache 5 {
    disable success cluster.local
    disable denial cluster.local
  }
  loadbalance
}
`

/**
 * Installs CoreDNS as the DNS of the cluster: two pods in the default network, as in most clusters. Resolves once it
 * answers. Builds it the first time.
 */
export async function installDns(nodes: string[]): Promise<void> {
  await exec([join(projectRoot, 'scripts', 'go-tools.sh'), 'dns'], { deadline: 30 * 60_000 })
  const fill = (root: string): Promise<void> => copyProgram(root, programs.coredns)
  await provideImage(nodes, { name, fill, entrypoint: [`/bin/${name}`] })
  await applyObjects(dnsObjects())
  const rollout = ['-n', 'kube-system', 'rollout', 'status', `deployment/${name}`, '--timeout=180s']
  await kubectl(rollout, { deadline: 185_000 })
}

function dnsObjects(): object[] {
  const rule = (apiGroups: string[], resources: string[]): object => ({
    apiGroups,
    resources,
    verbs: ['list', 'watch'],
  })
  const port = (portName: string, protocol: string): object => ({ name: portName, port: 53, protocol })
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name },
      rules: [rule([''], ['services', 'pods', 'namespaces']), rule(['discovery.k8s.io'], ['endpointslices'])],
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
      subjects: [{ kind: 'ServiceAccount', name, namespace: 'kube-system' }],
    },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { Corefile: corefile } },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { ...metadata, name: 'kube-dns' },
      spec: {
        clusterIP: clusterNetwork.dnsService,
        selector: labels,
        ports: [port('dns', 'UDP'), port('dns-tcp', 'TCP')],
      },
    },
    deployment(),
  ]
}

function deployment(): object {
  const container = {
    name,
    image: imageReference(name),
    imagePullPolicy: 'Never',
    args: ['-conf', '/etc/coredns/Corefile'],
    volumeMounts: [{ name: 'configuration', mountPath: '/etc/coredns', readOnly: true }],
    readinessProbe: { httpGet: { path: '/ready', port: 8181 }, periodSeconds: 1 },
    livenessProbe: { httpGet: { path: '/health', port: 8080 } },
  }
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata,
    spec: {
      replicas: 2,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          serviceAccountName: name,
          dnsPolicy: 'Default',
          terminationGracePeriodSeconds: 1,
          containers: [container],
          volumes: [{ name: 'configuration', configMap: { name } }],
        },
      },
    },
  }
}
