/** The pod that a container belongs to, where the runtime said so. */
export interface Pod {
  namespace: string
  name: string
  uid?: string
}

/** Which endpoint a container asks for. */
export type EndpointWish =
  /** A new endpoint on a network; without a name the default network and the network's own tier. */
  | { kind: 'dynamic'; networkName?: string; perfTierName?: string }
  /** A static endpoint made beforehand, in the namespace of the pod. */
  | { kind: 'static'; endpointName: string }

/** One interface of one container: what CNI calls an attachment. */
export interface ContainerInterface {
  /** `name` of the network configuration; together with the other two it identifies the attachment. */
  cniNetwork: string
  containerId: string
  interfaceName: string
}

/** Everything that an ADD says; two ADDs with equal requests are the same ADD. */
export interface AddRequest extends ContainerInterface {
  /** Path of the network namespace. */
  netns: string
  pod?: Pod
  wish: EndpointWish
}
