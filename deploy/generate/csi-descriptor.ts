import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

interface DescriptorNode {
  extend?: string
  nested?: Record<string, DescriptorNode>
}

interface ProtobufRoot {
  loadSync(file: string): ProtobufRoot
  toJSON(): { nested: Record<string, DescriptorNode> }
}

const folder = fileURLToPath(new URL('../../src/storage/csi/', import.meta.url))

/** The generated file. */
export const csiDescriptorFile = join(folder, 'csi-descriptor.json')

/** Types of protobuf itself that messages of CSI contain. */
const wellKnown = ['Timestamp', 'Int64Value', 'BoolValue']

/**
 * What the agent reads at run time in place of csi.proto: JSON can be bundled. Without custom options, which only say
 * what is experimental or secret.
 */
export function csiDescriptor(): string {
  const { nested } = parse(join(folder, 'csi.proto'))
  const csi = nested.csi!.nested!.v1!.nested!
  for (const [name, { extend }] of Object.entries(csi)) if (extend !== undefined) delete csi[name]
  const protobuf = nested.google!.nested!.protobuf!
  protobuf.nested = Object.fromEntries(wellKnown.map((name) => [name, protobuf.nested![name]!]))
  return `${JSON.stringify({ nested }, (key, value: unknown) => (key === 'options' ? undefined : value), 1)}\n`
}

/** By the parser that the gRPC library brings. */
function parse(file: string): { nested: Record<string, DescriptorNode> } {
  const own = createRequire(import.meta.url)
  const loader = createRequire(dirname(own.resolve('@grpc/proto-loader/package.json')) + '/')
  loader('@grpc/proto-loader') // knows the protobuf files that others import
  const { Root } = loader('protobufjs') as { Root: new () => ProtobufRoot }
  return new Root().loadSync(file).toJSON()
}
