import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { makeLabCgroup } from '../cgroups.ts'
import { freePort } from '../free-port.ts'
import { programLog, startProgram } from '../machines.ts'
import { projectRoot } from '../places.ts'
import { joiningCgroup, startDaemon, waitFor } from '../processes.ts'
import { controlAddress, controlMachine } from '../programs.ts'
import { machinePid, writeJson } from '../state.ts'
import { apiServerPort, kubernetesPlaces } from './places.ts'

/** A kubeconfig of the administrator that works on the host itself, outside of the lab's networks. */
export const hostKubeconfig = kubernetesPlaces.kubeconfig('host')

const socket = join(kubernetesPlaces.folder, 'api.sock')
const forwarder = join(projectRoot, 'lab', 'kubernetes', 'forwarder.ts')

interface Kubeconfig {
  clusters: { name: string; cluster: { server: string } }[]
}

/** Makes the API server reachable on a port of the host's loopback, and writes the kubeconfig; both go with the lab. */
export async function openHostAccess(): Promise<void> {
  const inside = [process.execPath, forwarder, socket, `${controlAddress}:${apiServerPort}`]
  await startProgram(machinePid(controlMachine), controlMachine, 'api-inside', inside)
  const address = `127.0.0.1:${await freePort()}`
  const outside: [string, ...string[]] = [process.execPath, forwarder, address, socket]
  startDaemon(joiningCgroup(makeLabCgroup('host'), outside), programLog('api-outside'))
  const config = JSON.parse(readFileSync(kubernetesPlaces.kubeconfig('admin'), 'utf8')) as Kubeconfig
  for (const { cluster } of config.clusters) cluster.server = `https://${address}`
  writeJson(hostKubeconfig, config)
  await waitFor('the way to the API server', () => answers(address), { deadline: 30_000, interval: 50 })
}

async function answers(address: string): Promise<boolean> {
  const [host, port] = address.split(':') as [string, string]
  const connection = connect(Number(port), host)
  try {
    await once(connection, 'connect')
    return true
  } catch {
    return false
  } finally {
    connection.destroy()
  }
}
