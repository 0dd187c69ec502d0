import { defaultPerfTiers } from '../../src/api/index.ts'
import { imageReference } from '../kubernetes/index.ts'

/** The networks of the site: the company's, on which its hosts reach the web replicas, and one for what is behind. */
export const networks = {
  corporate: { vlan: 100, prefix: '10.30.0', range: { start: '10.30.0.50', end: '10.30.0.99' } },
  backend: { vlan: 200, prefix: '10.40.0' },
} as const

/** Static endpoints of the web replicas: any pod of the set takes one that is free. */
export const webEndpoints = [0, 1, 2].map((number) => ({
  name: `web-${number}`,
  address: `${networks.corporate.prefix}.${50 + number}`,
}))

/** Port of every node at which the web Service is reached. */
export const nodePort = 30080

const carbonado = 'carbonado.io/v1alpha1'

/** Networks and static endpoints. */
export function networkObjects(): object[] {
  const { corporate, backend } = networks
  const network = (name: string, vlan: number, prefix: string, more: object = {}, settings: object = {}): object => ({
    apiVersion: carbonado,
    kind: 'Network',
    metadata: { name },
    spec: { vlan, subnets: [{ cidr: `${prefix}.0/24`, gateway: `${prefix}.1`, ...more }], ...settings },
  })
  return [
    network('corporate', corporate.vlan, corporate.prefix, { ranges: [corporate.range] }),
    network('backend', backend.vlan, backend.prefix, {}, { isDefault: true }),
    ...webEndpoints.map(({ name, address }) => ({
      apiVersion: carbonado,
      kind: 'Endpoint',
      metadata: { name, namespace: 'default' },
      spec: { networkName: 'corporate', isStatic: true, addresses: [address] },
    })),
  ]
}

const password = { name: 'DATABASE_PASSWORD', valueFrom: { secretKeyRef: { name: 'database', key: 'password' } } }

/** The tier that the database's volume has where drives can promise as much: one of those that Carbonado comes with. */
export const databaseTier = defaultPerfTiers.find(({ name }) => name === 'high')!

/**
 * The database: one pod in the network behind, a volume of tier `high`, and the Service by whose name it is found. Where
 * drives promise less than that, `lessIops` is what its volume is promised, by a tier of its own.
 */
export function databaseObjects(lessIops?: number): object[] {
  const container = {
    name: 'mariadb',
    image: imageReference('mariadb'),
    imagePullPolicy: 'Never',
    env: [password],
    readinessProbe: { exec: { command: ['mariadb-admin', 'ping'] }, periodSeconds: 2, timeoutSeconds: 5 },
    volumeMounts: [{ name: 'data', mountPath: '/var/lib/mysql', subPath: 'mysql' }],
  }
  const volumes = [{ name: 'data', persistentVolumeClaim: { claimName: 'database' } }]
  const pod = { containers: [container], volumes, terminationGracePeriodSeconds: 10 }
  const claim = {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: 'database' },
    spec: {
      storageClassName: `carbonado-${lessIops === undefined ? databaseTier.name : lesserTier}`,
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: '1Gi' } },
    },
  }
  return [
    ...(lessIops === undefined ? [] : lesserTierObjects(lessIops)),
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'database' }, stringData: { password: 'of-the-demo' } },
    claim,
    workload('mariadb', 1, pod, { network: 'backend' }),
    service('mariadb', 3306),
  ]
}

const lesserTier = 'site'

function lesserTierObjects(iops: number): object[] {
  return [
    { apiVersion: carbonado, kind: 'PerfTier', metadata: { name: lesserTier }, spec: { storageIops: iops } },
    {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: { name: `carbonado-${lesserTier}` },
      provisioner: 'csi.carbonado.io',
      parameters: { perfTier: lesserTier },
      volumeBindingMode: 'WaitForFirstConsumer',
    },
  ]
}

/** Three web replicas with addresses of their own in the company's network, and a Service for those who want one. */
export function webObjects(): object[] {
  const container = {
    name: 'wordpress',
    image: imageReference('wordpress'),
    imagePullPolicy: 'Never',
    env: [password, { name: 'DATABASE_HOST', value: 'mariadb' }, { name: 'SITE_TITLE', value: 'Carbonado' }],
    readinessProbe: { httpGet: { path: '/', port: 80 }, periodSeconds: 1, timeoutSeconds: 5 },
  }
  const away = { effect: 'NoExecute', operator: 'Exists', tolerationSeconds: 5 } // a dead node's replicas start elsewhere
  const pod = {
    containers: [container],
    terminationGracePeriodSeconds: 1,
    tolerations: ['not-ready', 'unreachable'].map((state) => ({ key: `node.kubernetes.io/${state}`, ...away })),
    topologySpreadConstraints: [
      { maxSkew: 1, topologyKey: 'kubernetes.io/hostname', whenUnsatisfiable: 'ScheduleAnyway', labelSelector: { matchLabels: { app: 'web' } } }, // prettier-ignore
    ],
  }
  return [workload('web', 3, pod, { endpointPrefix: 'web' }), service('web', 80, { type: 'NodePort', nodePort })]
}

function workload(name: string, replicas: number, pod: object, endpoint: object): object {
  const labels = { app: name }
  const metadata = { labels, annotations: { 'carbonado.io/endpoint0': JSON.stringify(endpoint) } }
  const spec = { replicas, selector: { matchLabels: labels }, template: { metadata, spec: pod } }
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name }, spec }
}

function service(name: string, port: number, outside?: { type: 'NodePort'; nodePort: number }): object {
  const { type, nodePort: from } = outside ?? {}
  const spec = { selector: { app: name }, type, ports: [{ port, nodePort: from }] }
  return { apiVersion: 'v1', kind: 'Service', metadata: { name }, spec }
}
