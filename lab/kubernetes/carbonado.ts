import { copyFileSync, existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { exec } from '../../src/base/index.ts'
import { buildImage } from '../../deploy/image/build.ts'
import { nodePlaces, poolsFolder, projectRoot } from '../places.ts'
import { insideMachine } from '../processes.ts'
import { controlMachine } from '../programs.ts'
import { machinePid } from '../state.ts'
import { cableInterface } from '../switch.ts'
import { imageReference, makeImage } from './images.ts'
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

const sidecarNames = ['provisioner', 'attacher', 'resizer', 'snapshotter', 'snapshotController']

/** Makes one image of all the sidecars of CSI; each is run by its path, as in their own images. */
export async function makeSidecarsImage(): Promise<void> {
  await makeImage('csi-sidecars', async (root) => {
    const files = programs.csiSidecars
    for (const file of files) copyFileSync(file, join(root, basename(file)))
    for (const library of new Set((await Promise.all(files.map(librariesOf))).flat())) {
      mkdirSync(dirname(join(root, library)), { recursive: true })
      copyFileSync(library, join(root, library))
    }
  })
}

/** Shared libraries that a program needs, as the loader of this machine finds them. */
async function librariesOf(file: string): Promise<string[]> {
  const { stdout } = await exec(['ldd', file])
  return stdout.split('\n').flatMap((line) => /(?:=>|^)\s*(\/\S+) \(/.exec(line)?.[1] ?? [])
}

/** Values of the chart that every lab needs: there is no registry, and the drives of its nodes are files. */
export function labSettings(): Record<string, string> {
  return {
    'agent.drives[0]': nodePlaces.drive,
    'agent.poolDirectory': poolsFolder,
    ...Object.fromEntries(sidecarNames.map((name) => [`csi.sidecars.${name}`, imageReference('csi-sidecars')])),
  }
}

/** Installs the chart as a user would, or upgrades what is there, and waits until it works. */
export async function installCarbonado(values: Record<string, string | boolean> = {}): Promise<void> {
  const settings = {
    'image.reference': imageReference('carbonado'),
    'image.pullPolicy': 'Never',
    'agent.uplink.interface': cableInterface,
    'services.cidrs': `{${clusterNetwork.serviceCidr}}`,
    'services.reachable': `{${clusterNetwork.nodeCidr}}`,
    ...labSettings(),
    ...values,
  }
  const flags = Object.entries(settings).flatMap(([name, value]) =>
    typeof value === 'boolean' ? ['--set', `${name}=${value}`] : ['--set-string', `${name}=${value}`],
  )
  await helm(['upgrade', '--install', 'carbonado', join(projectRoot, 'deploy', 'chart'), '--create-namespace', ...flags, '--wait', '--timeout', '300s']) // prettier-ignore
}

/** Runs helm as an administrator of the cluster. */
export async function helm(args: string[]): Promise<string> {
  const access = ['--kubeconfig', kubernetesPlaces.kubeconfig('admin'), '--namespace', carbonadoNamespace]
  const command = insideMachine(machinePid(controlMachine), [programs.helm, ...access, ...args])
  return (await exec(command, { deadline: 330_000 })).stdout
}

function changeTimes(path: string): number[] {
  const status = statSync(path, { throwIfNoEntry: false })
  if (!status) return []
  return status.isDirectory() ? readdirSync(path).flatMap((name) => changeTimes(join(path, name))) : [status.mtimeMs]
}
