import { Type, type Static } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { invalidConfiguration } from '../../base/index.ts'
import { inPodServer, type RestOptions } from '../../store/index.ts'

const exact = { additionalProperties: false }
const serviceAccount = '/var/run/secrets/kubernetes.io/serviceaccount'

/** Configuration of control on a Kubernetes cluster, whose API server keeps the objects. */
export const KubernetesControlConfig = Type.Object(
  {
    kubernetes: Type.Object(
      {
        /** The API server; inside a pod the one that Kubernetes tells every pod of. */
        server: Type.Optional(Type.String({ pattern: '^https://' })),
        caFile: Type.String({ default: `${serviceAccount}/ca.crt` }),
        tokenFile: Type.String({ default: `${serviceAccount}/token` }),
        /** The service account of agents, `system:serviceaccount:...`: each is held to the node of its pod. Absent: none is. */
        agents: Type.Optional(Type.String({ pattern: '^system:serviceaccount:[^:]+:[^:]+$' })),
        /** Where the replicas settle who leads. */
        lease: Type.Object(
          { namespace: Type.String({ minLength: 1 }), name: Type.String({ minLength: 1 }) },
          { ...exact, default: { namespace: 'carbonado-system', name: 'control' } },
        ),
      },
      exact,
    ),
    /** Where webhooks, the scheduler extender, health and metrics are served, with TLS. */
    listen: Type.Object(
      { host: Type.String({ minLength: 1 }), port: Type.Integer({ minimum: 0, maximum: 65535 }) },
      { ...exact, default: { host: '::', port: 7443 } },
    ),
    tls: Type.Object({ certificateFile: Type.String({ minLength: 1 }), keyFile: Type.String({ minLength: 1 }) }, exact),
    /** Where kube-scheduler asks (`/scheduler`); absent: it cannot. */
    scheduler: Type.Optional(
      /** Authority that signed the scheduler's client certificate. */
      Type.Object({ authorityFile: Type.String({ minLength: 1 }) }, exact),
    ),
    /** Largest request body in bytes. */
    bodyLimit: Type.Integer({ minimum: 1024, maximum: 64 * 1024 * 1024, default: 4 * 1024 * 1024 }),
  },
  exact,
)
export type KubernetesControlConfig = Readonly<Static<typeof KubernetesControlConfig>>

/** Whether a configuration is one for a Kubernetes cluster. */
export function isForKubernetes(input: unknown): boolean {
  return typeof input === 'object' && input !== null && 'kubernetes' in input
}

/** Checks a configuration and fills in defaults. Frozen. Throws InvalidInput that names what is wrong. */
export function checkKubernetesConfig(input: unknown, source: string): KubernetesControlConfig {
  const config = Value.Default(KubernetesControlConfig, Value.Clone(input))
  if (Value.Check(KubernetesControlConfig, config)) return Object.freeze(config)
  throw invalidConfiguration(source, Value.Errors(KubernetesControlConfig, config), 'docs/control.md')
}

/** How to reach the API server. Throws InvalidInput when nobody says where it is. */
export function apiServerOf({ server, caFile, tokenFile }: KubernetesControlConfig['kubernetes']): RestOptions {
  return { server: server ?? inPodServer(), caFile, tokenFile }
}
