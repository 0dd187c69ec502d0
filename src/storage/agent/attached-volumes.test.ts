import { expect, it } from 'vitest'
import { NotFound, Unavailable } from '../../base/index.ts'
import type { KindDefinition, KubeObject } from '../../api/index.ts'
import type { Informer, ResourceStore } from '../../store/index.ts'
import { AttachedVolumes } from './attached-volumes.ts'

/** Volumes of a node that has no news of any attachment; looking for one in the store fails with this. */
function withoutNews(failure: Error): AttachedVolumes {
  const get = async (kind: KindDefinition<KubeObject>) => {
    if (kind.kind === 'VolumeAttachment') throw failure
    return { spec: {} }
  }
  return new AttachedVolumes({
    store: { get } as unknown as ResourceStore,
    nodeName: 'n1',
    attachments: { get: () => undefined } as unknown as Informer<never>,
    plexOf: () => undefined,
    deviceOf: () => undefined,
    publishedPaths: () => [],
  })
}

it('a volume without attachment is told from a store that does not answer', async () => {
  await expect(withoutNews(new NotFound('none')).device('v1')).rejects.toMatchObject({ code: 'Conflict' })
  await expect(withoutNews(new Unavailable('control is down')).device('v1')).rejects.toMatchObject({ code: 'Unavailable' }) // prettier-ignore
})
