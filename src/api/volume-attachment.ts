import { Type } from '@sinclair/typebox'
import { carbonadoGroup, defineKind, type ObjectOf } from './meta.ts'

/** Finalizer of the agent of `spec.nodeName` on a VolumeAttachment, while a device of the volume may be there. */
export const volumeAttachmentFinalizer = 'carbonado.io/attachment'

/**
 * The right of one node to use a volume. Its name is the volume's: a name exists once, so a volume is never in use on two
 * nodes. It goes only when the agent of the node has removed the device and its finalizer.
 */
export const VolumeAttachment = defineKind({
  ...carbonadoGroup,
  kind: 'VolumeAttachment',
  plural: 'volumeattachments',
  namespaced: false,
  selectableFields: ['spec.nodeName'],
  printerColumns: [
    { name: 'Node', type: 'string', jsonPath: '.spec.nodeName' },
    { name: 'Attached', type: 'boolean', jsonPath: '.status.attached' },
    { name: 'Device', type: 'string', jsonPath: '.status.devicePath' },
  ],
  schema: {
    spec: Type.Object(
      {
        volumeName: Type.String({ minLength: 1 }),
        volumeUid: Type.String({ minLength: 1 }),
        nodeName: Type.String({ minLength: 1 }),
        readOnly: Type.Boolean({ default: false }),
      },
      { additionalProperties: false },
    ),
    /** Written by the agent of spec.nodeName. */
    status: Type.Optional(
      Type.Object({
        attached: Type.Boolean(),
        devicePath: Type.Optional(Type.String()),
        /** What uses it: staging and target paths. */
        publishedPaths: Type.Array(Type.String()),
        message: Type.Optional(Type.String()),
      }),
    ),
  },
})
export type VolumeAttachment = ObjectOf<typeof VolumeAttachment>
