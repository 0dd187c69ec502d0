import { build } from 'esbuild'
import { spawn } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { initramfs } from './initramfs.ts'
import { readResults, type FileResult } from './results.ts'

const checkout = resolve(import.meta.dirname, '../..')
const kernel = join(checkout, 'build/guest/kernel')

/** What a guest that ran test files left behind. */
export interface GuestOutcome {
  files: FileResult[]
  /** All that was printed on its console, kernel messages and the tests' own output. */
  console: string
  /** Why it did not come to its end; undefined when it did. */
  crash: string | undefined
}

/** Two drives, so that mirrors have something to be made of. */
const driveBytes = [4, 4].map((gibibytes) => gibibytes * 2 ** 30)

/**
 * The emulator sometimes loses an instruction that a kernel with two processors patches while it boots ("Oops: int3" in a
 * function with a static key). A machine that ends so before its first test began is booted again.
 */
const mostBoots = 3

/**
 * Boots a virtual machine of Debian's kernel, in which every driver is a module to be had, on the files of this machine
 * (read-only) and runs the test files in it, one after the other. Two empty NVMe drives of 4 GiB are /dev/nvme0n1 and
 * /dev/nvme1n1. The machine ends with this process, and everything it had is removed.
 */
export async function runGuest(testFiles: string[], { deadline }: { deadline: number }): Promise<GuestOutcome> {
  if (!existsSync(join(kernel, 'vmlinuz'))) throw new Error('the kernel of the guest is missing; run: make setup')
  const bundles = await Promise.all(testFiles.map(bundle))
  await Promise.all(testFiles.map(bundleChild))
  for (let boots = 1; ; boots++) {
    const outcome = await runOnce(bundles, deadline)
    const hasBegun = outcome.files.some(({ tests, exitCode }) => tests.length > 0 || exitCode !== undefined)
    const isLostPatch = !hasBegun && outcome.crash !== undefined && outcome.console.includes('Oops: int3')
    if (!isLostPatch || boots === mostBoots) return outcome
    console.warn(`the emulator lost an instruction while the virtual machine booted; boot ${boots + 1} of ${mostBoots}`)
  }
}

async function runOnce(bundles: string[], deadline: number): Promise<GuestOutcome> {
  const scratch = mkdtempSync(join(checkout, 'build/guest/run-'))
  try {
    const ended = await boot(scratch, bundles, deadline)
    const files = readResults(bundles.map((name) => basename(name, '.mjs')), readFileSync(join(scratch, 'results'), 'utf8')) // prettier-ignore
    const crash =
      ended ??
      (files.every((file) => file.exitCode !== undefined) ? undefined : 'it stopped before its tests were done')
    return { files, console: readFileSync(join(scratch, 'console'), 'utf8'), crash }
  } finally {
    rmSync(scratch, { recursive: true })
  }
}

/** What a test file starts as a program of its own stands beside it as NAME.child.ts, and in the guest as NAME.child.mjs. */
async function bundleChild(testFile: string): Promise<void> {
  const child = testFile.replace('.guest.ts', '.child.ts')
  if (existsSync(child)) await bundle(child)
}

/** One file with everything a test file imports, because reading many small ones over 9p costs the guest seconds. */
async function bundle(testFile: string): Promise<string> {
  const name = `${basename(testFile).replace(/(\.guest)?\.ts$/, '')}.mjs`
  await build({
    entryPoints: [testFile],
    outfile: join(checkout, 'build/guest', name),
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    external: ['koffi'],
    // the `require` that bundled CommonJS packages expect
    banner: {
      js: "import{createRequire as bundleRequire}from'node:module';const require=bundleRequire(import.meta.url);",
    },
    alias: { vitest: join(import.meta.dirname, 'harness.ts') },
    sourcemap: 'inline',
    logLevel: 'error',
  })
  return name
}

/** Runs the machine to its end; returns why it had to be ended, if it had to. */
async function boot(scratch: string, bundles: string[], deadline: number): Promise<string | undefined> {
  mkdirSync(scratch, { recursive: true })
  const release = basename(realpathSync(kernel))
  writeFileSync(
    join(scratch, 'initramfs'),
    initramfs({ directory: kernel, release }, join(import.meta.dirname, 'init.sh')),
  )
  for (const name of ['console', 'results']) writeFileSync(join(scratch, name), '')
  const machine = spawn('qemu-system-x86_64', machineArguments(scratch, bundles), {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const said: Buffer[] = []
  machine.stderr.on('data', (part: Buffer) => said.push(part))
  const kill = (): void => void machine.kill('SIGKILL')
  process.once('exit', kill)
  let late = false
  const timer = setTimeout(() => {
    late = true
    kill()
  }, deadline)
  const code = await new Promise<number | null>((done, failed) => machine.on('error', failed).on('close', done))
  clearTimeout(timer)
  process.off('exit', kill)
  if (late) return `it was not done within ${deadline / 1000} s`
  return code === 0 ? undefined : `qemu ended with ${code}: ${Buffer.concat(said).toString().slice(-2000)}`
}

function machineArguments(scratch: string, bundles: string[]): string[] {
  const command = [
    'console=ttyS0 panic=-1 oops=panic quiet mitigations=off',
    `carbonado.checkout=${checkout} carbonado.files=${bundles.join(',')}`,
  ]
  // KVM is left alone: where these tests run it is often absent, or there and unable to run a guest.
  return [
    ...['-accel', 'tcg,thread=multi', '-cpu', 'max', '-machine', 'q35', '-smp', '2', '-m', '1536'],
    ...['-display', 'none', '-nodefaults', '-no-reboot'],
    ...['-serial', `file:${scratch}/console`, '-serial', `file:${scratch}/results`],
    ...['-kernel', `${kernel}/vmlinuz`, '-initrd', `${scratch}/initramfs`, '-append', command.join(' ')],
    ...['-fsdev', 'local,id=host,path=/,security_model=none,readonly=on,multidevs=remap'],
    ...['-device', 'virtio-9p-pci,fsdev=host,mount_tag=host', '-device', 'virtio-rng-pci'],
    ...driveBytes.flatMap((bytes, index) => drive(`${scratch}/drive${index}`, bytes, index)),
  ]
}

function drive(path: string, bytes: number, index: number): string[] {
  writeFileSync(path, '')
  truncateSync(path, bytes)
  return [
    '-drive',
    `file=${path},format=raw,if=none,id=drive${index},discard=unmap,detect-zeroes=unmap,cache=unsafe`,
    '-device',
    `nvme,drive=drive${index},serial=guest-drive-${index}`,
  ]
}
