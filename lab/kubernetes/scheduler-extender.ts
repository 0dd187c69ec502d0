import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { exec } from '../../src/base/index.ts'
import { startProgram } from '../machines.ts'
import { insideMachine, isRunning } from '../processes.ts'
import { controlAddress, controlMachine, endProgram } from '../programs.ts'
import { machinePid, programStates } from '../state.ts'
import { cableInterface } from '../switch.ts'
import { carbonadoNamespace } from './carbonado.ts'
import { startControlPlaneProgram } from './control-plane.ts'
import { kubectl } from './kubectl.ts'
import { proxyConfiguration } from './node.ts'
import { clusterNetwork, kubernetesPlaces, programs, schedulerFiles } from './places.ts'

/**
 * Has kube-scheduler ask control about pods that take of Carbonado, as an administrator does after installing the chart:
 * with the certificate that the chart made, at the address of control's Service.
 */
export async function configureSchedulerExtender(nodes: string[]): Promise<void> {
  await startServiceProxy(nodes[0]!)
  const get = (what: string[]): Promise<string> => kubectl(['-n', carbonadoNamespace, 'get', ...what])
  const [secret, address] = await Promise.all([
    get(['secret', 'carbonado-scheduler', '-o', 'json']),
    get(['service', 'carbonado-control', '-o', 'jsonpath={.spec.clusterIP}']),
  ])
  const { data } = JSON.parse(secret) as { data: Record<string, string> }
  const files = { 'ca.crt': schedulerFiles.authority, 'tls.crt': schedulerFiles.certificate, 'tls.key': schedulerFiles.key } // prettier-ignore
  for (const [key, file] of Object.entries(files))
    writeFileSync(file, Buffer.from(data[key]!, 'base64'), { mode: 0o600 })
  writeFileSync(schedulerFiles.configuration, stringify(schedulerConfiguration(address)))
  await endProgram('kube-scheduler', 'SIGTERM')
  await startControlPlaneProgram('kube-scheduler')
}

function schedulerConfiguration(address: string): object {
  return {
    apiVersion: 'kubescheduler.config.k8s.io/v1',
    kind: 'KubeSchedulerConfiguration',
    clientConnection: { kubeconfig: kubernetesPlaces.kubeconfig('scheduler') },
    leaderElection: { leaderElect: false },
    extenders: [
      {
        urlPrefix: `https://${address}/scheduler`,
        filterVerb: 'filter',
        prioritizeVerb: 'prioritize',
        bindVerb: 'bind',
        weight: 1,
        enableHTTPS: true,
        tlsConfig: {
          serverName: `carbonado-control.${carbonadoNamespace}.svc`,
          caFile: schedulerFiles.authority,
          certFile: schedulerFiles.certificate,
          keyFile: schedulerFiles.key,
        },
        httpTimeout: '2s',
        nodeCacheCapable: true,
        managedResources: [{ name: 'carbonado.io/interfaces' }, { name: 'carbonado.io/bandwidth' }],
        ignorable: true,
      },
    ],
  }
}

/**
 * The machine of the control plane reaches Services as any node does. It is none: kube-proxy would wait for its Node, so it
 * is told the name of another.
 */
export async function startServiceProxy(node: string): Promise<void> {
  const key = `${controlMachine}-kube-proxy`
  const running = programStates.get(key)
  if (running && isRunning(running)) return
  const configuration = join(kubernetesPlaces.folder, 'proxy.yaml')
  writeFileSync(configuration, stringify(proxyConfiguration(node, controlAddress, kubernetesPlaces.kubeconfig('proxy')))) // prettier-ignore
  // addresses of Services are translated before they are sent, and need a way out all the same
  const route = ['ip', 'route', 'replace', clusterNetwork.serviceCidr, 'dev', cableInterface]
  await exec(insideMachine(machinePid(controlMachine), route))
  const path = `${programs.conntrack}:/usr/sbin:/usr/bin:/sbin:/bin`
  const command = ['env', `PATH=${path}`, programs.kubernetes('kube-proxy'), `--config=${configuration}`]
  programStates.set(key, await startProgram(machinePid(controlMachine), controlMachine, key, command))
}
