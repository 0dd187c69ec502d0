import type { AddressClaim, Endpoint, MacClaim, Network, Node, PerfTier } from '../../api/index.ts'
import { checkTier } from '../../guarantee/index.ts'
import type { AdmissionRequest, SyncReader } from '../../store/index.ts'
import { admitClaimCreate, admitClaimDelete, admitClaimUpdate } from './claim-rules.ts'
import { admitEndpointCreate, admitEndpointUpdate } from './endpoint-rules.ts'
import { admitNetworkCreate, admitNetworkDelete, admitNetworkUpdate } from './network-rules.ts'
import { admitNode, admitNodeDelete } from './node-rules.ts'
import { admitTierDelete, admitTierUpdate } from './tier-rules.ts'

type Rules<T> = {
  create: (object: T, reader: SyncReader) => void
  update: (object: T, existing: T, reader: SyncReader) => void
  delete?: (object: T, reader: SyncReader) => void
}

const claims: Rules<AddressClaim | MacClaim> = {
  create: admitClaimCreate,
  update: admitClaimUpdate,
  delete: admitClaimDelete,
}

const networks: Rules<Network> = {
  create: admitNetworkCreate,
  update: admitNetworkUpdate,
  delete: admitNetworkDelete,
}

const tiers: Rules<PerfTier> = { create: checkTier, update: admitTierUpdate, delete: admitTierDelete }
const endpoints: Rules<Endpoint> = { create: admitEndpointCreate, update: admitEndpointUpdate }
const nodes: Rules<Node> = { create: admitNode, update: admitNode, delete: admitNodeDelete }

const rulesOf: Record<string, Rules<never>> = {
  Network: networks,
  PerfTier: tiers,
  Endpoint: endpoints,
  Node: nodes,
  AddressClaim: claims,
  MacClaim: claims,
}

/** Decides about every write to the kinds of the network; others pass. Throws a CarbonadoError to refuse. */
export function networkAdmission({ verb, kind, object, existing }: AdmissionRequest, reader: SyncReader): void {
  const rules = rulesOf[kind.kind]
  if (!rules) return
  if (verb === 'create') rules.create(object as never, reader)
  else if (verb === 'update') rules.update(object as never, existing as never, reader)
  else rules.delete?.(object as never, reader)
}
