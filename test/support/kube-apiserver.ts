import { spawn, type ChildProcess } from 'node:child_process'
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crdFolder } from '../../deploy/generate/crds.ts'
import { freePort } from '../../lab/free-port.ts'

const root = join(import.meta.dirname, '..', '..')
const kubernetes = join(root, 'build', 'go', 'kubernetes')
const token = 'administrator-of-the-test'

/** A real kube-apiserver with its etcd, on loopback, with the kinds of the project installed. */
export interface KubeApiserver {
  server: string
  caFile: string
  token: string
  /** Runs kubectl against it and returns what it printed. */
  kubectl(...args: string[]): string
  /** Ends the server as a crash would, and starts it again on the same address with what etcd kept. */
  restart(): Promise<void>
  close(): Promise<void>
}

/** Installs what is missing (minutes the first time), starts both and waits until the kinds are served. */
export async function startKubeApiserver(): Promise<KubeApiserver> {
  execFileSync(join(root, 'scripts', 'go-tools.sh'), ['kubernetes'], { stdio: ['ignore', 'ignore', 'inherit'] })
  execFileSync(join(root, 'scripts', 'debian-tools.sh'), ['etcd-server'], { stdio: ['ignore', 'ignore', 'inherit'] })
  const folder = mkdtempSync(join(tmpdir(), 'carbonado-apiserver-'))
  const [client, peer, secure] = await Promise.all([freePort(), freePort(), freePort()])
  makeCertificates(folder)
  const etcd = startEtcd(folder, client, peer)
  const server = `https://127.0.0.1:${secure}`
  const caFile = join(folder, 'ca.crt')
  const kubectl = (...args: string[]): string =>
    execFileSync(
      join(kubernetes, 'kubectl'),
      ['--server', server, '--token', token, '--certificate-authority', caFile, ...args],
      {
        encoding: 'utf8',
        env: { ...process.env, HOME: folder },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    )
  let apiserver = startApiserver(folder, client, secure)
  const ready = (): Promise<void> => waitUntilReady(apiserver, folder, () => kubectl('get', '--raw', '/readyz'))
  const close = async (): Promise<void> => {
    for (const child of [apiserver, etcd]) await kill(child)
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    await ready()
    kubectl('apply', '--server-side', '-f', crdFolder)
    kubectl('wait', '--for=condition=Established', '--timeout=30s', '-f', crdFolder)
  } catch (error) {
    await close()
    throw error
  }
  const restart = async (): Promise<void> => {
    await kill(apiserver)
    apiserver = startApiserver(folder, client, secure)
    await ready()
  }
  return { server, caFile, token, kubectl, restart, close }
}

function makeCertificates(folder: string): void {
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  const request = ['req', '-newkey', 'rsa:2048', '-nodes']
  openssl(...request, '-x509', '-keyout', 'ca.key', '-out', 'ca.crt', '-days', '2', '-subj', '/CN=test-ca')
  openssl(...request, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=kube-apiserver')
  writeFileSync(join(folder, 'server.ext'), 'subjectAltName=IP:127.0.0.1\n')
  const signing = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'server.ext']
  openssl('x509', '-req', '-in', 'server.csr', '-out', 'server.crt', ...signing)
  openssl('genrsa', '-out', 'accounts.key', '2048')
  writeFileSync(join(folder, 'tokens.csv'), `${token},admin,admin,system:masters\n`)
}

function startEtcd(folder: string, client: number, peer: number): ChildProcess {
  const [clients, peers] = [`http://127.0.0.1:${client}`, `http://127.0.0.1:${peer}`]
  return start(folder, join(root, 'build', 'debian', 'etcd-server', 'usr', 'bin', 'etcd'), [
    '--data-dir', 'etcd', '--unsafe-no-fsync',
    '--listen-client-urls', clients, '--advertise-client-urls', clients,
    '--listen-peer-urls', peers, '--initial-advertise-peer-urls', peers, '--initial-cluster', `default=${peers}`,
  ]) // prettier-ignore
}

function startApiserver(folder: string, etcd: number, port: number): ChildProcess {
  return start(folder, join(kubernetes, 'kube-apiserver'), [
    `--etcd-servers=http://127.0.0.1:${etcd}`, '--bind-address=127.0.0.1', `--secure-port=${port}`,
    '--service-cluster-ip-range=10.96.0.0/16', '--authorization-mode=RBAC', '--token-auth-file=tokens.csv',
    '--tls-cert-file=server.crt', '--tls-private-key-file=server.key', '--cert-dir=certificates',
    '--service-account-issuer=https://kubernetes.default.svc', '--service-account-key-file=accounts.key',
    '--service-account-signing-key-file=accounts.key', '--endpoint-reconciler-type=none',
    '--feature-gates=WatchList=false', // wants etcd 3.5; Debian has 3.4
  ]) // prettier-ignore
}

function start(folder: string, program: string, args: string[]): ChildProcess {
  const log = openSync(join(folder, 'log'), 'a')
  return spawn(program, args, { cwd: folder, stdio: ['ignore', log, log] })
}

async function waitUntilReady(child: ChildProcess, folder: string, probe: () => string): Promise<void> {
  const deadline = Date.now() + 180_000
  for (;;) {
    try {
      if (probe() === 'ok') return
    } catch (error) {
      if (child.exitCode !== null || Date.now() > deadline) {
        const log = readFileSync(join(folder, 'log'), 'utf8').slice(-3000)
        throw new Error(`kube-apiserver did not start: ${log}`, { cause: error })
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}
