import { ExecError, Unavailable } from '../../src/base/index.ts'
import { programLog } from '../machines.ts'
import { lastLines, waitFor } from '../processes.ts'
import { makeCarbonadoImage, makeSidecarsImage } from './carbonado.ts'
import { startControlPlane } from './control-plane.ts'
import { createCredentials } from './credentials.ts'
import { openHostAccess } from './host-access.ts'
import { makeBaseImages } from './images.ts'
import { kubectl } from './kubectl.ts'
import { configureKubernetesNode, copyCredentials, startKubernetesNodes } from './node.ts'
import { installPrograms } from './places.ts'
import { rememberSysctls } from './sysctls.ts'

/** What must be there before the machines of a cluster start: programs, images, and what is on the nodes' disks. */
export async function prepareKubernetes(nodes: string[]): Promise<void> {
  await installPrograms()
  await Promise.all([makeBaseImages(), makeCarbonadoImage(), makeSidecarsImage()])
  await createCredentials(nodes)
  for (const node of nodes) {
    configureKubernetesNode(node)
    copyCredentials(node)
  }
}

/** Starts control plane and nodes on the machines of a lab; nodes are Ready only once there is a network plugin. */
export async function startKubernetes(nodes: string[], onProgress: (step: string) => void = () => {}): Promise<void> {
  await rememberSysctls()
  onProgress('control plane of Kubernetes')
  const started = startKubernetesNodes(nodes)
  started.catch(() => {}) // awaited below
  await startControlPlane()
  await openHostAccess()
  onProgress('kubelets')
  await started
  await waitForRegistration(nodes)
}

/** Waits until all nodes are known to the API server. */
async function waitForRegistration(nodes: string[]): Promise<void> {
  const known = async (): Promise<boolean> => {
    const names = (await kubectl(['get', 'nodes', '-o', 'name']).catch(() => '')).split('\n')
    return nodes.every((node) => names.includes(`node/${node}`))
  }
  await waitFor('the nodes to register', known, { deadline: 180_000, interval: 200 })
}

/** Waits until Kubernetes calls all nodes Ready. Throws Unavailable with what kubelet of the others said last. */
export async function waitForReadyKubernetesNodes(deadline = 180_000): Promise<void> {
  const wait = ['wait', '--for=condition=Ready', 'node', '--all', `--timeout=${deadline / 1000}s`]
  try {
    await kubectl(wait, { deadline: deadline + 5_000 })
  } catch (error) {
    if (!(error instanceof ExecError)) throw error
    const nodes = [...error.stderr.matchAll(/nodes\/(\S+)/g)].map(([, node]) => node!)
    const logs = nodes.map((node) => `${node}: ${lastLines(programLog(`${node}-kubelet`))}`)
    throw new Unavailable(`not all nodes are Ready after ${deadline / 1000} s. ${logs.join('; ')}`, { cause: error })
  }
}
