import { NetlinkSocket } from '../netlink/index.ts'

/** RTNLGRP_... of linux/rtnetlink.h: links, traffic control, addresses, routes and rules of both families. */
const groups = [1, 4, 5, 7, 8, 9, 11, 19]
/** RTM_NEWLINK to RTM_DELLINK, and from RTM_NEWQDISC to RTM_DELTFILTER: what the node's own side is made of. */
const isOfHost = (type: number): boolean => (type >= 16 && type <= 17) || (type >= 36 && type <= 45)

/** Where something has changed since one last asked. */
export interface Changes {
  /** On the node itself. */
  host: boolean
  /** In other namespaces, by this one's numbers for them. */
  namespaces: Set<number>
  /** Announcements were lost: it may be anywhere. */
  anywhere: boolean
}

/** Hears what changes on the node and in its containers, so that nothing needs to be looked at while nothing changes. */
export class KernelListener {
  readonly #socket = NetlinkSocket.open()

  constructor() {
    this.#socket.listen(groups)
  }

  /** What has changed since the last call; takes microseconds when nothing has. */
  changes(): Changes {
    const { messages, overrun } = this.#socket.announcements()
    const changes: Changes = { host: false, namespaces: new Set(), anywhere: overrun }
    for (const { type, namespace } of messages) {
      if (namespace !== undefined) changes.namespaces.add(namespace)
      else if (isOfHost(type)) changes.host = true
    }
    return changes
  }

  close(): void {
    this.#socket.close()
  }
}
