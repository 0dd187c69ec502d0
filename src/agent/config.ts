import { join } from 'node:path'
import { Type, type Static } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { Value } from '@sinclair/typebox/value'
import { namePattern, Node } from '../api/index.ts'
import { invalidConfiguration, readJsonFile } from '../base/index.ts'

const path = Type.String({ pattern: '^/' })
const ipv4Cidr = Type.String({ pattern: '^[0-9]+(\\.[0-9]+){3}/[0-9]+$' })
const options = { additionalProperties: false }
const serviceAccountPattern = '^system:serviceaccount:[^:]+:[^:]+$'

/** Configuration file of the agent (JSON). */
export const AgentConfig = Type.Object(
  {
    /** Name of this node's Node object. */
    nodeName: Type.String({ pattern: namePattern, maxLength: 253 }),
    /** Spec that the node registers itself with when it has no Node object yet. */
    node: Type.Optional(Node.schema.properties.spec!),
    control: Type.Object(
      {
        /** https://HOST:PORT or unix:///PATH; inside a pod the API server that Kubernetes tells every pod of. */
        server: Type.Optional(Type.String({ pattern: '^(https://|unix:///)' })),
        caFile: Type.Optional(path),
        tokenFile: Type.Optional(path),
      },
      options,
    ),
    /** On Kubernetes: endpoints of a pod belong to it and go when it is removed, not with each of its sandboxes. */
    podsOwnEndpoints: Type.Boolean({ default: false }),
    /** Holds the journal; must survive restarts of the agent. */
    stateDirectory: Type.String({ pattern: '^/', default: '/var/lib/carbonado/agent' }),
    /** Unix socket that the CNI plugin speaks to. */
    cniSocket: Type.String({ pattern: '^/', default: '/run/carbonado/cni.sock' }),
    /** Folder in a bpffs for this node's pins. */
    bpffs: Type.String({ pattern: '^/', default: '/sys/fs/bpf/carbonado' }),
    /** Folder with the compiled eBPF programs. */
    programs: Type.String({ pattern: '^/', default: '/usr/lib/carbonado/bpf' }),
    /** Whole drives that may be given away, by paths that stay; absent: all that nothing uses. */
    drives: Type.Optional(Type.Array(path)),
    /** The Container Storage Interface; absent: not served. */
    csi: Type.Optional(
      Type.Object(
        {
          /** Unix socket that orchestrators speak to. */
          socket: Type.String({ pattern: '^/', default: '/run/carbonado/csi.sock' }),
          /** Token of the role `provisioner`, with which the Controller service is served at this socket too. */
          controllerTokenFile: Type.Optional(path),
          /** Folder in which kubelet looks for sockets of plugins; absent: it is not told. */
          kubeletRegistry: Type.Optional(path),
        },
        options,
      ),
    ),
    /** Folder in which pools on drives are mounted. */
    poolDirectory: Type.String({ pattern: '^/', default: '/run/carbonado/pools' }),
    /** Where the live API listens. */
    listen: Type.Object({ host: Type.String(), port: Type.Integer({ minimum: 0, maximum: 65535 }) }, options),
    /** host:port under which control reaches the live API, where it is not `listen`. */
    advertise: Type.Optional(Type.String({ pattern: ':[0-9]+$' })),
    tls: Type.Object({ certificateFile: path, keyFile: path }, options),
    /** JSON list of {token, user, role} that may use the live API; other agents with the role `agent`. Absent: nobody by a list. */
    tokensFile: Type.Optional(path),
    /**
     * On Kubernetes: the service account whose tokens may look at the live API too, `system:serviceaccount:...`. With it the
     * metrics are for whoever the cluster lets read them, too.
     */
    visitors: Type.Optional(Type.String({ pattern: serviceAccountPattern })),
    /** By which pods reach Services through their node, and the node reaches them. Absent: not at all. */
    hostPath: Type.Optional(
      Type.Object(
        {
          /** CIDR of link-local addresses for the nodes' legs in the VLANs of pods. */
          nodeAddresses: ipv4Cidr,
          /** CIDRs of Services. */
          services: Type.Array(ipv4Cidr, { minItems: 1 }),
          /** CIDRs that pods reach through their node beside Services. */
          reachable: Type.Optional(Type.Array(ipv4Cidr)),
        },
        options,
      ),
    ),
    /** How to speak to other agents. Absent: they cannot be told what to send, and no floor is kept for receiving. */
    peers: Type.Optional(
      Type.Object(
        {
          /** Authority of their certificates; that of control unless told. */
          caFile: Type.Optional(path),
          /** Token that they know by the role `agent`; read again every minute. */
          tokenFile: path,
          /**
           * On Kubernetes: the service account of all agents, `system:serviceaccount:...`. Tokens that Kubernetes made for
           * its pods, for the audience `carbonado.io/agents`, speak for the node of the pod.
           */
          serviceAccount: Type.Optional(Type.String({ pattern: serviceAccountPattern })),
          /** Name in the certificate that all of them share; unless told it is each one's own address. */
          serverName: Type.Optional(Type.String({ minLength: 1 })),
        },
        options,
      ),
    ),
  },
  options,
)
export type AgentConfig = Static<typeof AgentConfig> & { node?: Node['spec'] }

const check = TypeCompiler.Compile(AgentConfig)

/** Reads, completes, checks and freezes the configuration. Throws InvalidInput naming what is wrong. */
export function loadAgentConfig(file: string): Readonly<AgentConfig> {
  return parseAgentConfig(withNodeOfPod(readJsonFile(file, 'configuration'), process.env), file)
}

/**
 * All agents of a DaemonSet read one file; Kubernetes tells each of them in its environment which node it is on
 * (`NODE_NAME`, `HOST_IP`). What the file says goes before; pools are in a folder of the node's name below `poolDirectory`.
 */
export function withNodeOfPod(
  value: unknown,
  { NODE_NAME: nodeName, HOST_IP: hostAddress }: NodeJS.ProcessEnv,
): unknown {
  if (typeof value !== 'object' || value === null || nodeName === undefined) return value
  const { listen, poolDirectory } = value as { listen?: { port?: unknown }; poolDirectory?: string }
  const port = listen?.port
  const host = hostAddress?.includes(':') ? `[${hostAddress}]` : hostAddress
  const advertise = host && port ? { advertise: `${host}:${String(port)}` } : {}
  // devices of pools are those of the machine, which may be several nodes
  const pools = poolDirectory === undefined ? {} : { poolDirectory: join(poolDirectory, nodeName) }
  return { nodeName, ...advertise, ...value, ...pools }
}

/** As loadAgentConfig, for a value that is there already; `origin` names it in errors. */
export function parseAgentConfig(value: unknown, origin: string): Readonly<AgentConfig> {
  const config = Value.Default(AgentConfig, Value.Clone(value))
  if (check.Check(config)) return Object.freeze(config as AgentConfig)
  throw invalidConfiguration(origin, check.Errors(config), 'docs/agent.md')
}
