/** The pod that a container belongs to, where the runtime said so. */
export interface Pod {
  namespace: string
  name: string
  uid?: string
}

/** Which endpoint a container asks for. */
export type EndpointWish =
  /**
   * A new endpoint on a network, or on that of a group which has most free addresses; without either the default network.
   * Without a tier the network's own. Addresses (one per IP family) and MAC where certain ones are asked for.
   */
  | {
      kind: 'dynamic'
      networkName?: string
      networkGroup?: string
      perfTierName?: string
      addresses?: string[]
      macAddress?: string
    }
  /** A static endpoint made beforehand, in the namespace of the pod. */
  | { kind: 'static'; endpointName: string }
  /** One of the static endpoints PREFIX-0, PREFIX-1, ... in the namespace of the pod that is free. */
  | { kind: 'any-static'; prefix: string }

/** Metric of the default routes of interface `number` of several, where nothing else is wished: the primary's is least. */
export function usualMetric(number: number): number {
  return 100 + number
}

/** What is wished for one interface. */
export interface InterfaceWish {
  interfaceName: string
  wish: EndpointWish
  /** Of its default routes; the lowest of a container wins. */
  metric?: number
}

/** One interface of one container: what CNI calls an attachment. */
export interface ContainerInterface {
  /** `name` of the network configuration; together with the other two it identifies the attachment. */
  cniNetwork: string
  containerId: string
  interfaceName: string
}

/** Everything that an ADD says; two ADDs with equal requests are the same ADD. */
export interface AddRequest extends ContainerInterface, InterfaceWish {
  /** Path of the network namespace. */
  netns: string
  pod?: Pod
  /** Further interfaces of the container, which are attached and removed together with this one, the primary. */
  children?: InterfaceWish[]
  /** The container has a primary interface beside this one, from whomever. */
  isAdditional?: true
}
