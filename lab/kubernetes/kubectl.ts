import { exec, type ExecOptions } from '../../src/base/index.ts'
import { insideMachine } from '../processes.ts'
import { controlMachine } from '../programs.ts'
import { machinePid } from '../state.ts'
import { kubernetesPlaces, programs } from './places.ts'

/** Milliseconds for one call of kubectl: a busy machine takes its time, and what fails is told by kubectl itself. */
const patience = 60_000

/** Runs kubectl as an administrator and returns what it printed; throws ExecError when it fails. */
export async function kubectl(args: string[], options: ExecOptions = {}): Promise<string> {
  const { stdout } = await exec(kubectlCommand(args), { deadline: patience, ...options })
  return stdout
}

/** The host's command that runs kubectl on the machine of control. */
export function kubectlCommand(args: string[]): [string, ...string[]] {
  const kubeconfig = `--kubeconfig=${kubernetesPlaces.kubeconfig('admin')}`
  return insideMachine(machinePid(controlMachine), [programs.kubernetes('kubectl'), kubeconfig, ...args])
}

/** Sends objects to the API server; those that are there are changed. `deadline`: milliseconds, more for many objects. */
export async function applyObjects(
  objects: object[],
  { fieldManager = 'lab', deadline = patience + objects.length * 500 } = {},
): Promise<void> {
  const list = { apiVersion: 'v1', kind: 'List', items: objects }
  const flags = ['--server-side', '--force-conflicts', `--field-manager=${fieldManager}`]
  await kubectl(['apply', ...flags, '-f', '-'], { input: JSON.stringify(list), deadline })
}
