import type { Pod } from '../../api/index.ts'
import { InvalidInput } from '../../base/index.ts'
import { parseAnnotations } from '../cni/annotations.ts'
import type { Wished } from '../cni/wish-object.ts'

/** The interface of a pod that its `number`th wish is about. */
export function interfaceNameOf(number: number): string {
  return `eth${number}`
}

/**
 * What a pod asks for, one wish per interface, as the agent will read it: one of the default network for a pod that says
 * nothing, none for one that opts out or uses the network of its node. Throws InvalidInput that names the annotation.
 */
export function wishesOfPod({ metadata, spec }: Pod): Wished[] {
  const wishes = parseAnnotations(metadata.annotations ?? {}, metadata.name)
  if (!spec.hostNetwork) return wishes === 'none' ? [] : (wishes ?? [{ wish: { kind: 'dynamic' } }])
  if (wishes === undefined || wishes === 'none') return []
  throw new InvalidInput('annotation carbonado.io/endpoint0 is on a pod with hostNetwork, which has no interface of its own', {
    remedy: 'Remove the annotation, or hostNetwork.',
  }) // prettier-ignore
}
