import { Type } from '@sinclair/typebox'
import { defineKind, type ObjectOf } from './meta.ts'

/** Kinds that Kubernetes itself serves, with those of their fields that are read here. Control does not serve them. */
const Quantities = Type.Record(Type.String(), Type.String())

/** An extended resource of a node: interfaces of pods that it can have, and that a pod takes. A count. */
export const interfacesResource = 'carbonado.io/interfaces'

/** An extended resource of a node: bandwidth that can be promised to its pods, and that a pod is promised. Bits per second. */
export const bandwidthResource = 'carbonado.io/bandwidth'

/** The annotation of a pod that stands for one that a kubelet reads from a file (a static pod). */
export const mirrorAnnotation = 'kubernetes.io/config.mirror'

export const Pod = defineKind({
  group: '',
  version: 'v1',
  kind: 'Pod',
  plural: 'pods',
  namespaced: true,
  selectableFields: ['spec.nodeName'],
  schema: {
    spec: Type.Object({
      nodeName: Type.Optional(Type.String()),
      hostNetwork: Type.Optional(Type.Boolean()),
      containers: Type.Array(
        Type.Object({
          name: Type.String(),
          resources: Type.Optional(
            Type.Object({ requests: Type.Optional(Quantities), limits: Type.Optional(Quantities) }),
          ),
        }),
      ),
      volumes: Type.Optional(
        Type.Array(
          Type.Object({
            name: Type.String(),
            persistentVolumeClaim: Type.Optional(Type.Object({ claimName: Type.String() })),
            /** A claim of the pod's own, named POD-VOLUME. */
            ephemeral: Type.Optional(Type.Unknown()),
          }),
        ),
      ),
    }),
    status: Type.Optional(
      Type.Object({
        phase: Type.Optional(Type.String()),
        conditions: Type.Optional(
          Type.Array(Type.Object({ type: Type.String(), status: Type.String(), reason: Type.Optional(Type.String()) })),
        ),
      }),
    ),
  },
})
export type Pod = ObjectOf<typeof Pod>

/** Kubernetes' own view of a server; `Node` is Carbonado's, of the same name. */
export const KubernetesNode = defineKind({
  group: '',
  version: 'v1',
  kind: 'Node',
  plural: 'nodes',
  namespaced: false,
  schema: {
    spec: Type.Optional(
      Type.Object({
        taints: Type.Optional(Type.Array(Type.Object({ key: Type.String(), effect: Type.Optional(Type.String()) }))),
      }),
    ),
    status: Type.Optional(Type.Object({ capacity: Type.Optional(Quantities), allocatable: Type.Optional(Quantities) })),
  },
})
export type KubernetesNode = ObjectOf<typeof KubernetesNode>

export const PersistentVolumeClaim = defineKind({
  group: '',
  version: 'v1',
  kind: 'PersistentVolumeClaim',
  plural: 'persistentvolumeclaims',
  namespaced: true,
  schema: {
    spec: Type.Object({
      volumeName: Type.Optional(Type.String()),
      storageClassName: Type.Optional(Type.String()),
      resources: Type.Optional(Type.Object({ requests: Type.Optional(Quantities) })),
    }),
  },
})
export type PersistentVolumeClaim = ObjectOf<typeof PersistentVolumeClaim>

export const PersistentVolume = defineKind({
  group: '',
  version: 'v1',
  kind: 'PersistentVolume',
  plural: 'persistentvolumes',
  namespaced: false,
  schema: {
    spec: Type.Object({
      csi: Type.Optional(Type.Object({ driver: Type.String(), volumeHandle: Type.String() })),
    }),
  },
})
export type PersistentVolume = ObjectOf<typeof PersistentVolume>

export const StorageClass = defineKind({
  group: 'storage.k8s.io',
  version: 'v1',
  kind: 'StorageClass',
  plural: 'storageclasses',
  namespaced: false,
  schema: {
    provisioner: Type.String(),
    parameters: Type.Optional(Type.Record(Type.String(), Type.String())),
  },
})
export type StorageClass = ObjectOf<typeof StorageClass>
