import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { cp, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { exec, Unavailable } from '../../src/base/index.ts'
import { packImage } from './pack.ts'

const root = join(import.meta.dirname, '..', '..')
const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'carbonado', 'image')

/** What the agent runs beside its own code, and the libraries of Node. */
const packages = [
  'libstdc++6', 'libatomic1', 'ca-certificates', 'iproute2', 'bpftool', 'kmod', 'nftables',
  'mount', 'e2fsprogs', 'xfsprogs', 'btrfs-progs', 'lvm2', 'thin-provisioning-tools', 'fio',
] // prettier-ignore

const unwanted = ['/usr/share/doc/*', '/usr/share/man/*', '/usr/share/locale/*', '/usr/share/info/*']

/** Where everything of Carbonado is inside the image. */
const home = '/usr/lib/carbonado'

/**
 * Builds the image of control, agent and dctl from Debian's packages and what `make build` made, without a registry.
 * The Debian part is kept in the user's cache.
 */
export async function buildImage(reference: string, file: string): Promise<void> {
  const base = await debianRoot(packages)
  mkdirSync(dirname(file), { recursive: true })
  const folder = mkdtempSync(`${file}.root-`)
  try {
    await exec(['cp', '-aT', '--reflink=auto', base, folder], { deadline: 120_000 })
    await addProduct(folder)
    await packImage({ reference, root: folder }, file)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/**
 * A folder with the Debian release of this machine and packages, as its own apt knows where to find them; to be copied and
 * not changed. Kept in the user's cache.
 */
export async function debianRoot(packages: string[]): Promise<string> {
  const { stdout } = await exec(['sh', '-c', '. /etc/os-release && echo "$VERSION_CODENAME"'])
  const release = stdout.trim()
  const key = createHash('sha256')
    .update(JSON.stringify([release, packages, unwanted]))
    .digest('hex')
    .slice(0, 16)
  const base = join(cache, `${release}-${key}`)
  if (existsSync(base)) return base
  mkdirSync(cache, { recursive: true })
  const making = `${base}.${process.pid}`
  try {
    const excluded = unwanted.map((path) => `--dpkgopt=path-exclude=${path}`)
    const wanted = `--include=${packages.join(',')}`
    await exec(['mmdebstrap', '--quiet', '--variant=essential', wanted, ...excluded, release, making], { deadline: 600_000 }) // prettier-ignore
    await rm(join(making, 'var/cache/apt'), { recursive: true, force: true })
    await rm(join(making, 'var/lib/apt'), { recursive: true, force: true })
    publish(making, base)
  } finally {
    await exec(['rm', '-rf', making], { deadline: 60_000 })
  }
  return base
}

/** Gives a folder its final name, unless another process was faster. */
function publish(making: string, base: string): void {
  try {
    renameSync(making, base)
  } catch (error) {
    if (!existsSync(base)) throw error
  }
}

async function addProduct(folder: string): Promise<void> {
  const at = (path: string): string => join(folder, home, path)
  mkdirSync(at('node_modules/@koromix'), { recursive: true })
  const architecture = process.arch === 'arm64' ? 'arm64' : 'x64'
  const copies: [from: string, to: string][] = [
    ['dist/agent.js', 'agent.js'],
    ['dist/control.js', 'control.js'],
    ['dist/dctl.js', 'dctl.js'],
    ['build/bpf', 'bpf'],
    ['build/cni/carbonado-cni', 'carbonado-cni'],
    ['package.json', 'package.json'],
    [`node_modules/node-linux-${architecture}/bin/node`, 'node'],
    ['node_modules/koffi', 'node_modules/koffi'],
    [`node_modules/@koromix/koffi-linux-${architecture}`, `node_modules/@koromix/koffi-linux-${architecture}`],
  ]
  for (const [from, to] of copies) {
    if (!existsSync(join(root, from))) throw new Unavailable(`${from} is not there`, { remedy: 'Run: make build' })
    await cp(join(root, from), at(to), { recursive: true })
  }
  for (const program of ['agent', 'control', 'dctl']) {
    const wrapper = join(folder, 'usr/bin', program === 'dctl' ? 'dctl' : `carbonado-${program}`)
    writeFileSync(wrapper, `#!/bin/sh\nexec ${home}/node ${home}/${program}.js "$@"\n`)
    chmodSync(wrapper, 0o755)
  }
  symlinkSync(`${home}/node`, join(folder, 'usr/bin/node'))
}
