import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { cpioArchive, type CpioEntry } from './cpio.ts'

/** What the guest needs to reach its root on the machine that runs it; all other drivers it finds there. */
const drivers = ['virtio_pci', '9pnet_virtio', '9p', 'overlay']

/** The first root of the guest: busybox, the drivers of `drivers` with what they need, and the init that loads them. */
export function initramfs(kernel: { directory: string; release: string }, init: string): Buffer {
  const modules = join(kernel.directory, 'lib/modules', kernel.release)
  const files = loadOrder(modules).map((file) => ({
    name: basename(file).replace('.xz', ''),
    content: readModule(join(modules, file)),
  }))
  const directories = ['bin', 'dev', 'proc', 'sys', 'modules', 'host', 'scratch', 'root']
  return cpioArchive([
    ...directories.map((path): CpioEntry => ({ path, kind: 'directory' })),
    { path: 'dev/console', kind: 'device', major: 5, minor: 1 },
    { path: 'bin/busybox', kind: 'file', mode: 0o755, content: readFileSync('/bin/busybox') },
    ...files.map((file, index): CpioEntry => ({ path: `modules/${String(index).padStart(2, '0')}-${file.name}`, kind: 'file', mode: 0o644, content: file.content })),
    { path: 'init', kind: 'file', mode: 0o755, content: readFileSync(init) },
  ]) // prettier-ignore
}

/** Paths of the drivers and of all that they depend on, each after what it depends on. */
function loadOrder(modules: string): string[] {
  const lines = readFileSync(join(modules, 'modules.dep'), 'utf8').trim().split('\n')
  const needs = new Map(lines.map((line) => line.split(':') as [string, string]))
  const named = new Map(
    [...needs.keys()].map((path) => [
      basename(path)
        .replace(/\.ko.*/, '')
        .replaceAll('-', '_'),
      path,
    ]),
  )
  const order = new Set<string>()
  for (const driver of drivers) {
    const path = named.get(driver)
    if (path === undefined) continue // built into the kernel
    for (const file of [path, ...needs.get(path)!.split(' ').filter(Boolean)].reverse()) order.add(file)
  }
  return [...order]
}

function readModule(path: string): Buffer {
  return path.endsWith('.xz') ? execFileSync('xz', ['-dc', path], { maxBuffer: 1 << 26 }) : readFileSync(path)
}
