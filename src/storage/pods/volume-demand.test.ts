import { describe, expect, it } from 'vitest'
import { PersistentVolumeClaim, StorageClass, type KindDefinition, type KubeObject, type Pod } from '../../api/index.ts'
import type { SyncReader } from '../../store/index.ts'
import { driverName } from '../csi/identity-service.ts'
import { volumeDemandsOf } from './volume-demand.ts'

const pod: Pod = {
  metadata: { namespace: 'default', name: 'db', uid: 'u1' },
  spec: { containers: [], volumes: [{ name: 'data', persistentVolumeClaim: { claimName: 'data' } }] },
}

/** A cluster with one claim of our class that waits for its pod. */
function clusterWithClaim(storage: string): SyncReader {
  const claim: PersistentVolumeClaim = {
    metadata: { namespace: 'default', name: 'data' },
    spec: { storageClassName: 'carbonado', resources: { requests: { storage } } },
  }
  const storageClass: StorageClass = { metadata: { name: 'carbonado' }, provisioner: driverName }
  const objects = new Map<unknown, KubeObject>([
    [PersistentVolumeClaim, claim],
    [StorageClass, storageClass],
  ])
  return {
    get: <T extends KubeObject>(kind: KindDefinition<T>) => objects.get(kind) as T | undefined,
    list: () => [],
  }
}

describe('the space that a new volume of a pod needs', () => {
  it.each<[string, number]>([
    ['10Gi', 10 * 2 ** 30],
    ['1181116006400m', 1127 * 2 ** 20], // as the API server writes 1.1Gi
    ['1e9', 954 * 2 ** 20],
    ['1Pi', 2 ** 50],
    ['1E', 2 ** 53],
    ['what?', 0],
  ])('for a claim of %s is %s bytes', (storage, space) => {
    expect(volumeDemandsOf(pod, clusterWithClaim(storage))).toMatchObject([{ kind: 'new', ask: { space } }])
  })
})
