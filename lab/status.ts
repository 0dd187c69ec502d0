import { formatQuantity } from '../src/api/index.ts'
import { findContainer } from './containers.ts'
import { isRunning } from './processes.ts'
import { agentProgram, controlMachine, isProgramRunning, nodeAddress } from './programs.ts'
import { containerStates, hostStates, isMachineRunning, readLabState, type LabState } from './state.ts'

/** What `dctl lab status` shows; programs and containers as the kernel has them now. */
export interface LabStatus {
  phase: 'down' | 'interrupted' | LabState['phase']
  /** Bits per second; null is no limit. */
  rate?: number | null
  control?: 'running' | 'stopped'
  nodes: { name: string; address: string; power: 'on' | 'off'; agent: 'running' | 'stopped' }[]
  hosts: { name: string; vlan: number; addresses: string[] }[]
  containers: { name: string; node: string; state: 'running' | 'ended'; addresses: string[]; mac: string }[]
}

/** Looks at the lab on this machine. */
export function labStatus(): LabStatus {
  const state = readLabState()
  if (!state) return { phase: 'down', nodes: [], hosts: [], containers: [] }
  return {
    phase: state.phase !== 'up' && !isRunning(state.starter) ? 'interrupted' : state.phase,
    rate: state.rate,
    ...(state.bare ? {} : { control: stateOf(controlMachine) }),
    nodes: state.nodes.map((name) => ({
      name,
      address: nodeAddress(name),
      power: isMachineRunning(name) ? 'on' : 'off',
      agent: stateOf(agentProgram(name)),
    })),
    hosts: hostStates.list(),
    containers: containerStates.list().map(({ name }) => {
      const { node, addresses, mac, isRunning: runs } = findContainer(name)
      return { name, node, state: runs ? 'running' : 'ended', addresses, mac }
    }),
  }
}

/** The status as text for people. */
export function statusText(status: LabStatus): string {
  if (status.phase === 'down') return 'The lab is down. Start it with: dctl lab up'
  const rate = status.rate === null ? 'unlimited' : `${formatQuantity(status.rate!)}bit/s`
  const head = `The lab is ${status.phase}; links ${rate}${status.control ? `; control ${status.control}` : '; bare'}`
  const sections = [
    table(
      ['NODE', 'ADDRESS', 'POWER', 'AGENT'],
      status.nodes.map((node) => [node.name, node.address, node.power, node.agent]),
    ),
    table(
      ['HOST', 'VLAN', 'ADDRESSES'],
      status.hosts.map(({ name, vlan, addresses }) => [name, String(vlan), addresses.join(',')]),
    ),
    table(
      ['CONTAINER', 'NODE', 'STATE', 'ADDRESSES', 'MAC'],
      status.containers.map(({ name, node, state, addresses, mac }) => [name, node, state, addresses.join(','), mac]),
    ),
  ]
  return [head, ...sections.filter(Boolean)].join('\n\n')
}

function stateOf(program: string): 'running' | 'stopped' {
  return isProgramRunning(program) ? 'running' : 'stopped'
}

function table(head: string[], rows: string[][]): string {
  if (rows.length === 0) return ''
  const lines = [head, ...rows]
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
