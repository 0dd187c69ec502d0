import { Node } from '../api/index.ts'
import { asCarbonadoError } from '../base/index.ts'
import { isTable, printRows, type VerbContext } from '../verb/index.ts'

/** Something that is wrong with a node, and what to do about it. */
export interface NodeProblem {
  node: string
  reason: string
  message: string
  remedy: string
}

/**
 * `node check [NAME...]`: asks the agents of the named nodes (all without names) what is wrong with their nodes.
 * A node whose agent does not answer is itself a problem. Returns 1 when there is any.
 */
export async function checkNodes(context: VerbContext, names: string[]): Promise<number> {
  const store = await context.store()
  const nodes =
    names.length > 0
      ? await Promise.all(names.map((name) => store.get(Node, { name })))
      : (await store.list(Node)).items
  const problems = (await Promise.all(nodes.map(({ metadata }) => problemsOf(context, metadata.name)))).flat()
  if (isTable(context)) printProblems(context, nodes.length, problems)
  else await printRows(context, problems, [])
  return problems.length > 0 ? 1 : 0
}

async function problemsOf(context: VerbContext, node: string): Promise<NodeProblem[]> {
  try {
    const { problems } = await context.readAgent<{ problems: Omit<NodeProblem, 'node'>[] }>(node, 'v1/check')
    return problems.map(({ reason, message, remedy }) => ({ node, reason, message, remedy }))
  } catch (error) {
    const { message, remedy } = asCarbonadoError(error)
    const advice = remedy ?? 'See whether the agent runs on the node and control can reach it.'
    return [{ node, reason: 'AgentUnreachable', message, remedy: advice }]
  }
}

function printProblems(context: VerbContext, nodes: number, problems: NodeProblem[]): void {
  for (const { node, reason, message, remedy } of problems) {
    context.print(`${node}: ${reason}: ${message}\n  ${remedy}`)
  }
  const count = `${problems.length} problem${problems.length === 1 ? '' : 's'}`
  context.print(`${nodes} node${nodes === 1 ? '' : 's'} checked, ${problems.length === 0 ? 'no problem' : count}`)
}
