import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { TLSSocket } from 'node:tls'
import { Type, type Static, type TSchema } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import type { Pod } from '../../../api/index.ts'
import { asCarbonadoError, CarbonadoError, Forbidden, InvalidInput, type Logger } from '../../../base/index.ts'
import { judgeNode, scoreNode, type NodeFacts, type PodDemand } from './decision.ts'

/** Where the scheduler of Kubernetes asks: `urlPrefix` of its configuration ends with this. */
const extenderPath = '/scheduler'

/** As k8s.io/kube-scheduler/extender/v1, of a scheduler that is told `nodeCacheCapable`. */
const ExtenderArgs = Type.Object({ Pod: Type.Unknown(), NodeNames: Type.Array(Type.String()) })
const ExtenderBindingArgs = Type.Object({
  PodName: Type.String({ minLength: 1 }),
  PodNamespace: Type.String({ minLength: 1 }),
  PodUID: Type.String(),
  Node: Type.String({ minLength: 1 }),
})
export type Binding = Static<typeof ExtenderBindingArgs>

/** What the extender answers from. */
export interface ExtenderParts {
  /** What a pod needs. Throws a CarbonadoError for what it names and does not exist. */
  demandOf: (pod: Pod) => PodDemand
  nodeFacts: (name: string) => NodeFacts | undefined
  /** Makes the pod's endpoints and gives it its node. */
  bind: (binding: Binding) => Promise<void>
  logger: Logger
}

/** What the scheduler is told about nodes. */
export interface FilterResult {
  NodeNames: string[]
  /** Those that do not fit now, and those that would not fit if other pods went, with the reason. */
  FailedNodes: Record<string, string>
  FailedAndUnresolvableNodes: Record<string, string>
}

/** Those of the nodes that a pod fits on; a pure function. Nodes that Carbonado does not know have no network. */
export function filterNodes(demand: PodDemand, names: string[], nodeFacts: ExtenderParts['nodeFacts']): FilterResult {
  const result: FilterResult = { NodeNames: [], FailedNodes: {}, FailedAndUnresolvableNodes: {} }
  for (const name of names) {
    const facts = nodeFacts(name)
    const verdict = facts
      ? judgeNode(demand, facts)
      : ({ fits: false, reasons: ['no agent of Carbonado runs there'], isFinal: true } as const)
    if (verdict.fits) result.NodeNames.push(name)
    else result[verdict.isFinal ? 'FailedAndUnresolvableNodes' : 'FailedNodes'][name] = verdict.reasons.join('; ')
  }
  return result
}

/**
 * Adds what the scheduler of Kubernetes asks about pods that request our resources. Only a client whose certificate the
 * scheduler's authority signed may ask: it can have pods bound.
 */
export function addSchedulerExtender(app: FastifyInstance, { demandOf, nodeFacts, bind, logger }: ExtenderParts): void {
  app.post(`${extenderPath}/filter`, async (request) => {
    const { Pod: pod, NodeNames } = argumentsOf(ExtenderArgs, request)
    try {
      return filterNodes(demandOf(pod as Pod), NodeNames, nodeFacts)
    } catch (error) {
      const text = reasonOf(error)
      return { NodeNames: [], FailedNodes: Object.fromEntries(NodeNames.map((name) => [name, text])) }
    }
  })
  app.post(`${extenderPath}/prioritize`, async (request) => {
    const { Pod: pod, NodeNames } = argumentsOf(ExtenderArgs, request)
    const demand = demandOf(pod as Pod)
    return NodeNames.map((name) => {
      const facts = nodeFacts(name)
      return { Host: name, Score: facts ? scoreNode(demand, facts) : 0 }
    })
  })
  app.post(`${extenderPath}/bind`, async (request) => {
    const binding = argumentsOf(ExtenderBindingArgs, request)
    try {
      await bind(binding)
      return {}
    } catch (error) {
      logger.warn({ err: error, pod: `${binding.PodNamespace}/${binding.PodName}` }, 'a pod could not be bound')
      return { Error: reasonOf(error) }
    }
  })
}

const checks = new Map(
  [ExtenderArgs, ExtenderBindingArgs].map((schema: TSchema) => [schema, TypeCompiler.Compile(schema)]),
)

/** What a request asks. Throws Forbidden for a client that is not the scheduler, InvalidInput for another body. */
function argumentsOf<T extends TSchema>(schema: T, { body, raw }: FastifyRequest): Static<T> {
  if (!(raw.socket as TLSSocket).authorized) {
    throw new Forbidden('only the scheduler of Kubernetes may ask this', {
      remedy: "Give kube-scheduler the certificate of the secret carbonado-scheduler in its extender's tlsConfig.",
    })
  }
  if (checks.get(schema)!.Check(body)) return body as Static<T>
  throw new InvalidInput('the body is not what a scheduler sends that is told nodeCacheCapable', {
    remedy: 'Set nodeCacheCapable: true of the extender in the KubeSchedulerConfiguration.',
  })
}

function reasonOf(thrown: unknown): string {
  const { message, remedy } = thrown instanceof CarbonadoError ? thrown : asCarbonadoError(thrown)
  return [message, remedy].filter(Boolean).join('. ')
}
