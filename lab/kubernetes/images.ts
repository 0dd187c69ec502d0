import { existsSync, mkdirSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs'
import { copyFile, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { exec } from '../../src/base/index.ts'
import { packImage, type ImageOptions } from '../../deploy/image/pack.ts'
import { loadImage } from './node.ts'
import { kubernetesPlaces, programs } from './places.ts'

/** Reference of an image of the lab, which every node has and no registry. */
export function imageReference(name: string): string {
  return `docker.io/library/${name}:local`
}

/** Makes the images that the cluster itself needs: what holds a pod together, and a small one to run commands in. */
export async function makeBaseImages(): Promise<void> {
  await Promise.all([makeImage('pause', makePause, ['/pause']), makeImage('busybox', makeBusybox)])
}

/** Makes an image that every node gets, unless it is there. */
export async function makeImage(name: string, fill: FillRoot, entrypoint?: string[]): Promise<void> {
  const file = join(kubernetesPlaces.images, `${name}.tar`)
  await makeImageFile(file, { reference: imageReference(name), fill, ...(entrypoint ? { entrypoint } : {}) })
}

type FillRoot = (root: string) => void | Promise<void>

/** An image that only some labs need. */
export type FurtherImage = {
  /** Name of its file; another one when what is in it changes. */
  name: string
  /** `imageReference` of the name unless told. */
  reference?: string
  fill: FillRoot
} & Pick<ImageOptions, 'entrypoint' | 'arguments' | 'environment'>

/** Makes an image unless it is there, and loads it on nodes that do not have it. */
export async function provideImage(nodes: string[], image: FurtherImage): Promise<void> {
  const { name, reference = imageReference(name) } = image
  const file = join(kubernetesPlaces.furtherImages, `${name}.tar`)
  await makeImageFile(file, { ...image, reference })
  await Promise.all(nodes.map((node) => loadImage(node, file, reference)))
}

async function makeImageFile(
  file: string,
  { reference, fill, ...settings }: Omit<FurtherImage, 'name'> & { reference: string },
): Promise<void> {
  if (existsSync(file)) return
  mkdirSync(dirname(file), { recursive: true })
  const root = mkdtempSync(`${file}.root-`)
  try {
    for (const folder of ['bin', 'dev', 'etc', 'proc', 'sys', 'tmp', 'var']) mkdirSync(join(root, folder))
    writeFileSync(join(root, 'etc', 'passwd'), 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n')
    writeFileSync(join(root, 'etc', 'group'), 'root:x:0:\nnogroup:x:65534:\n')
    await fill(root)
    await packImage({ ...settings, reference, root }, file)
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}

async function makePause(root: string): Promise<void> {
  const [source, program] = [join(import.meta.dirname, 'pause.c'), join(root, 'pause')]
  await exec(['gcc', '-Os', '-static', '-s', '-o', program, source], { deadline: 120_000 }) // Kubernetes may be built beside it
}

async function makeBusybox(root: string): Promise<void> {
  await copyFile(programs.busybox, join(root, 'bin', 'busybox'))
  const { stdout } = await exec([programs.busybox, '--list'])
  const applets = stdout.split('\n').filter((applet) => applet !== '' && applet !== 'busybox')
  for (const applet of applets) symlinkSync('busybox', join(root, 'bin', applet))
}

/** Copies a program, with the libraries that it is linked against, to /bin of an image's root. */
export async function copyProgram(root: string, program: string): Promise<void> {
  await copyFile(program, join(root, 'bin', basename(program)))
  const { stdout } = await exec(['ldd', program])
  for (const [library] of stdout.matchAll(/\/\S+\.so\S*/g)) {
    mkdirSync(join(root, dirname(library)), { recursive: true })
    await copyFile(library, join(root, library))
  }
}
