import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { exec } from '../../src/base/index.ts'
import { buildImage } from '../../deploy/image/build.ts'
import { projectRoot } from '../places.ts'
import { insideMachine } from '../processes.ts'
import { controlMachine } from '../programs.ts'
import { machinePid } from '../state.ts'
import { cableInterface } from '../switch.ts'
import { imageReference } from './images.ts'
import { clusterNetwork, kubernetesPlaces, programs } from './places.ts'

/** Namespace that the chart is installed into. */
export const carbonadoNamespace = 'carbonado-system'

const imageFile = join(kubernetesPlaces.images, 'carbonado.tar')
const ingredients = ['dist/agent.js', 'dist/control.js', 'dist/dctl.js', 'build/bpf', 'build/cni/carbonado-cni']

/** Builds the image of Carbonado unless the one that is there is younger than all that is in it. */
export async function makeCarbonadoImage(): Promise<void> {
  mkdirSync(kubernetesPlaces.images, { recursive: true })
  const newest = Math.max(...ingredients.flatMap((path) => changeTimes(join(projectRoot, path))))
  if (existsSync(imageFile) && statSync(imageFile).mtimeMs > newest) return
  await buildImage(imageReference('carbonado'), imageFile)
}

/** Installs the chart as a user would, or upgrades what is there, and waits until it works. */
export async function installCarbonado(values: Record<string, string | boolean> = {}): Promise<void> {
  const settings = {
    'image.reference': imageReference('carbonado'),
    'image.pullPolicy': 'Never',
    'agent.uplink.interface': cableInterface,
    'services.cidrs': `{${clusterNetwork.serviceCidr}}`,
    'services.reachable': `{${clusterNetwork.nodeCidr}}`,
    ...values,
  }
  const flags = Object.entries(settings).flatMap(([name, value]) =>
    typeof value === 'boolean' ? ['--set', `${name}=${value}`] : ['--set-string', `${name}=${value}`],
  )
  await helm(['upgrade', '--install', 'carbonado', join(projectRoot, 'deploy', 'chart'), '--create-namespace', ...flags, '--wait', '--timeout', '120s']) // prettier-ignore
}

/** Runs helm as an administrator of the cluster. */
export async function helm(args: string[]): Promise<string> {
  const access = ['--kubeconfig', kubernetesPlaces.kubeconfig('admin'), '--namespace', carbonadoNamespace]
  const command = insideMachine(machinePid(controlMachine), [programs.helm, ...access, ...args])
  return (await exec(command, { deadline: 180_000 })).stdout
}

function changeTimes(path: string): number[] {
  const status = statSync(path, { throwIfNoEntry: false })
  if (!status) return []
  return status.isDirectory() ? readdirSync(path).flatMap((name) => changeTimes(join(path, name))) : [status.mtimeMs]
}
