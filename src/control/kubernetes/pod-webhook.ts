import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Pod } from '../../api/index.ts'
import { CarbonadoError, type Logger } from '../../base/index.ts'
import { networkDemandOf, resourcesPatch, wishesOfPod, type NetworkDemand } from '../../network/pods/index.ts'
import type { SyncReader } from '../../store/index.ts'
import {
  refusalFor,
  reviewAnswer,
  reviewRequestOf,
  type ReviewDecision,
  type ReviewRequest,
} from './admission-review.ts'

/** Path at which the API server asks about a pod that is created. */
export const podAdmissionPath = '/webhooks/pods'
/** Path at which it asks about what pods will be made from: Deployments, StatefulSets, Jobs and the like. */
export const templateAdmissionPath = '/webhooks/templates'

/** Milliseconds for which an object that a pod names may be on its way here: it was applied just before. */
const newsPatience = 500
const newsInterval = 50

/**
 * Adds what the API server asks about pods. A pod with a mistake in its annotations is refused; any other requests the
 * interfaces and the bandwidth that it takes, for the scheduler of Kubernetes to account for.
 */
export function addPodWebhooks(app: FastifyInstance, { reader, logger }: { reader: SyncReader; logger: Logger }): void {
  app.post(podAdmissionPath, async ({ body }) => {
    const request = reviewRequestOf(body)
    return reviewAnswer(request, await decideAboutPod(request, reader).catch((thrown) => refusalFor(thrown, logger)))
  })
  app.post(templateAdmissionPath, async ({ body }) => {
    const request = reviewRequestOf(body)
    try {
      const template = templateOf(request.object)
      if (template) wishesOfPod(template)
      return reviewAnswer(request, { allowed: true })
    } catch (thrown) {
      return reviewAnswer(request, refusalFor(thrown, logger))
    }
  })
}

async function decideAboutPod(
  { object, operation, namespace }: ReviewRequest,
  reader: SyncReader,
): Promise<ReviewDecision> {
  if (operation !== 'CREATE') return { allowed: true }
  const { metadata, ...rest } = object as Pod
  // the name of a pod that is made from a template is not known yet, its namespace only beside it
  const pod = { ...rest, metadata: { ...metadata, name: metadata.name ?? '', namespace: namespace ?? 'default' } }
  return { allowed: true, patch: resourcesPatch(pod, await demandOnceKnown(pod, reader)) }
}

async function demandOnceKnown(pod: Pod, reader: SyncReader): Promise<NetworkDemand> {
  const giveUp = performance.now() + newsPatience
  for (;;) {
    try {
      return networkDemandOf(pod, reader)
    } catch (error) {
      if (!(error instanceof CarbonadoError) || error.code !== 'NotFound' || performance.now() > giveUp) throw error
      await delay(newsInterval)
    }
  }
}

/** Where the template of pods is in the kinds that have one. */
interface Templated {
  spec?: { template?: Partial<Pod>; jobTemplate?: { spec?: { template?: Partial<Pod> } } }
}

/** A pod as the template makes it; undefined when there is none. */
function templateOf(object: unknown): Pod | undefined {
  const { spec } = object as Templated
  const template = spec?.template ?? spec?.jobTemplate?.spec?.template
  if (!template?.spec) return undefined
  return { metadata: { ...template.metadata, name: '' }, spec: template.spec }
}
