import type { Command } from 'commander'
import { Endpoint, Node, Plex } from '../api/index.ts'
import { CarbonadoError, Conflict } from '../base/index.ts'
import { giveBack } from '../network/give-back.ts'
import { ignoreNotFound, type ResourceStore } from '../store/index.ts'
import { printChanged, type VerbContext, type VerbHost } from '../verb/index.ts'

interface DeleteFlags {
  nodeIsOff?: boolean
  assumeYes?: boolean
}

/** Adds `node delete`. */
export function addNodeDelete(node: Command, host: VerbHost): void {
  node
    .command('delete')
    .description('take a node out of the cluster that is not Ready and that no endpoint is on')
    .argument('<name>', 'name of the node')
    .option(
      '--node-is-off',
      'state that the server has no power or no cable, and give back what its containers held: while it could still ' +
        'send, their addresses would be used twice',
    )
    .option('-y, --assume-yes', 'do not ask')
    .action(host.run(deleteNode))
    .addHelpText('after', '\nExample:\n  $ dctl node delete n3 --node-is-off\n')
}

/**
 * Deletes a node. What is on it is given back only when the administrator states that it is off: nobody else can know.
 * Every step can be repeated, so that a deletion that was interrupted is completed by the next.
 */
async function deleteNode(context: VerbContext, [name]: string[], flags: DeleteFlags): Promise<void> {
  const store = await context.store()
  const node = await store.get(Node, { name: name! })
  rejectAlive(node)
  const plexes = (await store.list(Plex, { fieldSelector: `spec.nodeName=${name}` })).items
  if (plexes.length > 0) throw stillStored(name!, plexes)
  const endpoints = (await store.list(Endpoint, { fieldSelector: `spec.nodeName=${name}` })).items
  if (endpoints.length > 0 && !flags.nodeIsOff) throw stillUsed(name!, endpoints)
  const count = `${endpoints.length} endpoint${endpoints.length === 1 ? '' : 's'}`
  const question = endpoints.length > 0 ? `Give back ${count} and delete node ${name}?` : `Delete node ${name}?`
  await context.confirm(question, flags.assumeYes)
  if (!(await removeIfUnused(store, node))) {
    for (const endpoint of endpoints) await giveBack(store, endpoint)
    await store.delete(Node, { name: name! }, { uid: node.metadata.uid }).catch(ignoreNotFound)
  }
  await printChanged(
    context,
    node,
    endpoints.length > 0 ? `node ${name} deleted, ${count} given back` : `node ${name} deleted`,
  )
}

/** False when something is on the node. Asked before anything is given back: who may not delete nodes changes nothing. */
async function removeIfUnused(store: ResourceStore, { metadata: { name, uid } }: Node): Promise<boolean> {
  try {
    await store.delete(Node, { name }, { uid }).catch(ignoreNotFound)
    return true
  } catch (error) {
    if (error instanceof CarbonadoError && error.code === 'Conflict') return false
    throw error
  }
}

/** Heartbeats prove that the node is on, whatever was stated. */
function rejectAlive({ metadata: { name }, status }: Node): void {
  const isAlive = status?.ready?.state === true || status?.ready?.reason === 'UplinkDown'
  if (!isAlive) return
  throw new Conflict(`the agent of node ${name} reports, so the node is on`, {
    remedy: `Stop the containers on it, then its agent, and wait 30 s until \`dctl node health ${name}\` says NotReady.`,
  })
}

function stillUsed(name: string, endpoints: Endpoint[]): Conflict {
  const titles = endpoints.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)
  const some = titles.slice(0, 5).join(', ') + (titles.length > 5 ? ` and ${titles.length - 5} more` : '')
  return new Conflict(`endpoints are still on node ${name}: ${some}`, {
    remedy:
      'If the server is off for good or unplugged, so that it cannot send any more, say so with --node-is-off. ' +
      'Otherwise start it, or wait until it is back.',
    details: { node: name, endpoints: titles },
  })
}

/** What is on the drives of a server is not given back like an address: it is lost with them. */
function stillStored(name: string, plexes: Plex[]): Conflict {
  const volumes = [...new Set(plexes.map(({ spec }) => spec.volumeName))]
  return new Conflict(`copies of volumes are on the drives of node ${name}: ${volumes.join(', ')}`, {
    remedy: 'Delete these volumes first; `dctl volume list` shows them.',
    details: { node: name, volumes },
  })
}
