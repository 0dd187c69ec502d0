import type { Command } from 'commander'
import { Endpoint, Network, Node } from '../api/index.ts'
import { isTable, printList, renderFields, type VerbContext, type VerbHost } from '../verb/index.ts'
import { clusterColumns } from './node-columns.ts'

/** Adds `cluster status`. */
export function addClusterVerbs(program: Command, host: VerbHost): void {
  const cluster = program.command('cluster').description('the cluster as a whole')
  cluster
    .command('status')
    .description('show for each node what is promised of what there is')
    .action(host.run(clusterStatus))
    .addHelpText(
      'after',
      '\nBANDWIDTH 1G/36G: 1 Gbit/s of the 36 that can be promised. VNICS 6/63: 6 of 63 interfaces.\n' +
        'PromiseAtRisk: the link has become slower than the floors on it; `dctl node health -o wide` tells more.\n' +
        '\nExample:\n  $ dctl cluster status\n',
    )
}

async function clusterStatus(context: VerbContext): Promise<void> {
  const store = await context.store()
  const { items: nodes } = await store.list(Node)
  if (isTable(context)) {
    const [networks, endpoints] = await Promise.all([store.list(Network), store.list(Endpoint)])
    const ready = nodes.filter(({ status }) => status?.ready?.state).length
    const attached = endpoints.items.filter(({ status }) => status?.attachment).length
    context.print(
      `${renderFields([
        ['Nodes', `${ready} of ${nodes.length} ready`],
        ['Networks', networks.items.length],
        ['Endpoints', `${attached} of ${endpoints.items.length} attached`],
      ])}\n`,
    )
  }
  await printList(context, Node, nodes, clusterColumns)
}
