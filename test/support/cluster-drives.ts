import { kubectl } from '../../lab/kubernetes/index.ts'
import { waitFor } from '../../lab/processes.ts'

interface DriveObject {
  metadata: { name: string }
  status?: { agent?: { state?: string } }
}

/** Makes pools on the drives of all nodes of the lab's cluster, and waits until volumes can be on them. */
export async function formatDrives(nodes: string[]): Promise<void> {
  for (const { metadata } of await drives(nodes, ({ status }) => status?.agent !== undefined)) {
    const wish = JSON.stringify({ spec: { format: { requestId: `request-of-${metadata.name}` } } })
    await kubectl(['patch', 'drives.carbonado.io', metadata.name, '--type=merge', '-p', wish])
  }
  await drives(nodes, ({ status }) => status?.agent?.state === 'Ready')
}

/** The drives of the nodes, once each has one as asked for. */
async function drives(nodes: string[], isSo: (drive: DriveObject) => boolean): Promise<DriveObject[]> {
  let items: DriveObject[] = []
  await waitFor(
    'the drives',
    async () => {
      items = (JSON.parse(await kubectl(['get', 'drives.carbonado.io', '-o', 'json'])) as { items: DriveObject[] })
        .items
      return items.filter(isSo).length === nodes.length
    },
    { deadline: 180_000, interval: 200 },
  )
  return items
}
