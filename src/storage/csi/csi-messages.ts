/**
 * The messages of CSI that Carbonado reads and writes, as the gRPC library hands them over: every text, list and map is
 * there (empty when unset), a message that was not sent is null, a 64-bit number is a number. What each field means is in
 * csi.proto.
 */

export type Texts = Record<string, string>

export type AccessModeName =
  | 'UNKNOWN'
  | 'SINGLE_NODE_WRITER'
  | 'SINGLE_NODE_READER_ONLY'
  | 'MULTI_NODE_READER_ONLY'
  | 'MULTI_NODE_SINGLE_WRITER'
  | 'MULTI_NODE_MULTI_WRITER'
  | 'SINGLE_NODE_SINGLE_WRITER'
  | 'SINGLE_NODE_MULTI_WRITER'

export interface VolumeCapability {
  accessType?: 'block' | 'mount'
  mount?: { fsType: string; mountFlags: string[]; volumeMountGroup: string } | null
  accessMode: { mode: AccessModeName } | null
}

export interface CapacityRange {
  requiredBytes: number
  limitBytes: number
}

export interface VolumeContentSource {
  snapshot?: { snapshotId: string } | null
  volume?: { volumeId: string } | null
}

export interface Topology {
  segments: Texts
}

export interface TopologyRequirement {
  requisite: Topology[]
  preferred: Topology[]
}

export interface CsiVolume {
  capacityBytes: number
  volumeId: string
  volumeContext?: Texts
  contentSource?: VolumeContentSource
  accessibleTopology?: Topology[]
}

export interface VolumeCondition {
  abnormal: boolean
  message: string
}

export interface VolumeStatus {
  publishedNodeIds: string[]
  volumeCondition: VolumeCondition
}

export interface CsiTimestamp {
  seconds: number
  nanos: number
}

export interface CsiSnapshot {
  sizeBytes: number
  snapshotId: string
  sourceVolumeId: string
  creationTime?: CsiTimestamp
  readyToUse: boolean
  groupSnapshotId?: string
}

export interface CsiGroupSnapshot {
  groupSnapshotId: string
  snapshots: CsiSnapshot[]
  creationTime?: CsiTimestamp
  readyToUse: boolean
}

export interface Paging {
  maxEntries: number
  startingToken: string
}

export interface CreateVolumeRequest {
  name: string
  capacityRange: CapacityRange | null
  volumeCapabilities: VolumeCapability[]
  parameters: Texts
  secrets: Texts
  volumeContentSource: VolumeContentSource | null
  accessibilityRequirements: TopologyRequirement | null
  mutableParameters: Texts
}

export interface VolumeIdRequest {
  volumeId: string
}

export interface ControllerPublishVolumeRequest {
  volumeId: string
  nodeId: string
  volumeCapability: VolumeCapability | null
  readonly: boolean
}

export interface ControllerUnpublishVolumeRequest {
  volumeId: string
  nodeId: string
}

export interface ValidateVolumeCapabilitiesRequest {
  volumeId: string
  volumeContext: Texts
  volumeCapabilities: VolumeCapability[]
  parameters: Texts
  mutableParameters: Texts
}

export interface GetCapacityRequest {
  volumeCapabilities: VolumeCapability[]
  parameters: Texts
  accessibleTopology: Topology | null
}

export interface ControllerExpandVolumeRequest {
  volumeId: string
  capacityRange: CapacityRange | null
  volumeCapability: VolumeCapability | null
}

export interface ControllerModifyVolumeRequest {
  volumeId: string
  mutableParameters: Texts
}

export interface CreateSnapshotRequest {
  sourceVolumeId: string
  name: string
  parameters: Texts
}

export interface ListSnapshotsRequest extends Paging {
  sourceVolumeId: string
  snapshotId: string
}

export interface SnapshotIdRequest {
  snapshotId: string
}

export interface CreateVolumeGroupSnapshotRequest {
  name: string
  sourceVolumeIds: string[]
  parameters: Texts
}

export interface GroupSnapshotIdRequest {
  groupSnapshotId: string
  snapshotIds: string[]
}

export interface NodeStageVolumeRequest {
  volumeId: string
  publishContext: Texts
  stagingTargetPath: string
  volumeCapability: VolumeCapability | null
  volumeContext: Texts
}

export interface NodeUnstageVolumeRequest {
  volumeId: string
  stagingTargetPath: string
}

export interface NodePublishVolumeRequest {
  volumeId: string
  publishContext: Texts
  stagingTargetPath: string
  targetPath: string
  volumeCapability: VolumeCapability | null
  readonly: boolean
  volumeContext: Texts
}

export interface NodeUnpublishVolumeRequest {
  volumeId: string
  targetPath: string
}

export interface NodeGetVolumeStatsRequest {
  volumeId: string
  volumePath: string
  stagingTargetPath: string
}

export interface NodeExpandVolumeRequest {
  volumeId: string
  volumePath: string
  capacityRange: CapacityRange | null
  stagingTargetPath: string
  volumeCapability: VolumeCapability | null
}

export interface VolumeUsage {
  available?: number
  total: number
  used?: number
  unit: 'BYTES' | 'INODES'
}
