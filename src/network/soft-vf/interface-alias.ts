/** What the alias of a host interface tells about its endpoint, so that the kernel alone knows who is attached. */
export interface InterfaceAlias {
  endpointId: string
  endpointName: string
  containerId: string
  interfaceName: string
}

const prefix = 'carbonado'

/** At most 255 bytes fit: 36 + 15 + a 128-character container id leave room for 70 characters of name. */
export function encodeAlias(alias: InterfaceAlias): string {
  return [prefix, alias.endpointId, alias.interfaceName, alias.containerId, alias.endpointName].join('|').slice(0, 255)
}

/** Undefined when the alias is not one of ours. */
export function decodeAlias(text: string | undefined): InterfaceAlias | undefined {
  const [marker, endpointId, interfaceName, containerId, endpointName] = text?.split('|') ?? []
  if (marker !== prefix || !endpointId || !interfaceName || !containerId || endpointName === undefined) return undefined
  return { endpointId, endpointName, containerId, interfaceName }
}
