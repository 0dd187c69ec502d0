import { existsSync, mkdirSync } from 'node:fs'
import { Unavailable } from '../../src/base/index.ts'
import { authorityFile } from '../certificates.ts'
import { programLog, startProgram } from '../machines.ts'
import { isRunning, lastLines, waitFor } from '../processes.ts'
import { controlAddress, controlMachine } from '../programs.ts'
import { machinePid, programStates } from '../state.ts'
import { certificateOf, serviceAccountKey } from './credentials.ts'
import { kubectl } from './kubectl.ts'
import { apiServerPort, clusterNetwork, kubernetesPlaces, programs, schedulerFiles } from './places.ts'

const etcdAddress = 'http://127.0.0.1:2379'
const etcdPeerAddress = 'http://127.0.0.1:2380'

/** The programs of the control plane, in the order in which they start. */
export const controlPlanePrograms = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'] as const
export type ControlPlaneProgram = (typeof controlPlanePrograms)[number]

/** Starts what does not run of the control plane, on the machine of control, and waits until the API answers. */
export async function startControlPlane(): Promise<void> {
  mkdirSync(kubernetesPlaces.etcd, { recursive: true, mode: 0o700 })
  await startControlPlaneProgram('etcd')
  await startControlPlaneProgram('kube-apiserver')
  await waitForApiServer()
  await Promise.all([
    startControlPlaneProgram('kube-controller-manager'),
    startControlPlaneProgram('kube-scheduler'),
    kubectl(['create', 'clusterrolebinding', 'kube-proxy', '--clusterrole=system:node-proxier', '--user=system:kube-proxy']).catch(() => {}), // prettier-ignore
  ])
}

/** Starts one program of the control plane unless it runs. */
export async function startControlPlaneProgram(name: ControlPlaneProgram): Promise<void> {
  const running = programStates.get(name)
  if (running && isRunning(running)) return
  programStates.set(name, await startProgram(machinePid(controlMachine), controlMachine, name, commands[name]()))
}

/** Waits until the API server is ready. Throws Unavailable with the end of its log. */
export async function waitForApiServer(deadline = 120_000): Promise<void> {
  try {
    const isReady = async (): Promise<boolean> => (await kubectl(['get', '--raw', '/readyz']).catch(() => '')) === 'ok'
    await waitFor('the API server', isReady, { deadline, interval: 100 })
  } catch (error) {
    const log = programLog('kube-apiserver')
    throw new Unavailable(`the API server does not get ready: ${lastLines(log)}`, { remedy: `See its log, ${log}`, cause: error }) // prettier-ignore
  }
}

const commands: Record<ControlPlaneProgram, () => string[]> = {
  // what a crash of this machine would lose is gone anyway: its disk is memory
  etcd: () => [
    programs.etcd, '--unsafe-no-fsync', `--data-dir=${kubernetesPlaces.etcd}`,
    `--listen-client-urls=${etcdAddress}`, `--advertise-client-urls=${etcdAddress}`,
    `--listen-peer-urls=${etcdPeerAddress}`, `--initial-advertise-peer-urls=${etcdPeerAddress}`,
    `--initial-cluster=default=${etcdPeerAddress}`,
  ], // prettier-ignore
  'kube-apiserver': apiServerCommand,
  'kube-controller-manager': () => [
    programs.kubernetes('kube-controller-manager'), ...asUser('controller-manager'), '--bind-address=127.0.0.1',
    `--service-account-private-key-file=${serviceAccountKey}`, `--root-ca-file=${authorityFile}`,
    '--use-service-account-credentials', '--allocate-node-cidrs', `--cluster-cidr=${clusterNetwork.podCidr}`,
    '--leader-elect=false', '--node-monitor-grace-period=20s',
  ], // prettier-ignore
  'kube-scheduler': () => [
    programs.kubernetes('kube-scheduler'), ...asUser('scheduler'), '--bind-address=127.0.0.1',
    ...(existsSync(schedulerFiles.configuration) ? [`--config=${schedulerFiles.configuration}`] : ['--leader-elect=false']),
  ], // prettier-ignore
}

function asUser(user: string): string[] {
  const kubeconfig = kubernetesPlaces.kubeconfig(user)
  const flags = ['--kubeconfig', '--authentication-kubeconfig', '--authorization-kubeconfig']
  return [...flags.map((flag) => `${flag}=${kubeconfig}`), `--requestheader-client-ca-file=${authorityFile}`]
}

function apiServerCommand(): string[] {
  const [server, kubelet, proxy] = ['apiserver', 'apiserver-kubelet', 'front-proxy'].map(certificateOf)
  return [
    programs.kubernetes('kube-apiserver'), `--etcd-servers=${etcdAddress}`,
    `--bind-address=${controlAddress}`, `--advertise-address=${controlAddress}`, `--secure-port=${apiServerPort}`,
    `--service-cluster-ip-range=${clusterNetwork.serviceCidr}`, '--allow-privileged=true',
    '--authorization-mode=Node,RBAC', '--enable-admission-plugins=NodeRestriction',
    `--client-ca-file=${authorityFile}`,
    `--tls-cert-file=${server!.certificateFile}`, `--tls-private-key-file=${server!.keyFile}`,
    `--kubelet-certificate-authority=${authorityFile}`, `--kubelet-client-certificate=${kubelet!.certificateFile}`,
    `--kubelet-client-key=${kubelet!.keyFile}`, '--kubelet-preferred-address-types=InternalIP',
    '--service-account-issuer=https://kubernetes.default.svc.cluster.local',
    `--service-account-key-file=${serviceAccountKey}`, `--service-account-signing-key-file=${serviceAccountKey}`,
    `--proxy-client-cert-file=${proxy!.certificateFile}`, `--proxy-client-key-file=${proxy!.keyFile}`,
    `--requestheader-client-ca-file=${authorityFile}`, '--requestheader-allowed-names=front-proxy-client',
    '--requestheader-username-headers=X-Remote-User', '--requestheader-group-headers=X-Remote-Group',
    '--requestheader-extra-headers-prefix=X-Remote-Extra-', '--enable-aggregator-routing=true',
    '--feature-gates=WatchList=false', // wants etcd 3.5; Debian has 3.4
  ] // prettier-ignore
}
