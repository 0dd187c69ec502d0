import { createHash } from 'node:crypto'
import { createReadStream, mkdirSync, mkdtempSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { exec } from '../../src/base/index.ts'

/** An image to be made of a folder. */
export interface ImageOptions {
  /** Full reference such as docker.io/library/busybox:local. */
  reference: string
  /** Folder that becomes the root of the image; owners become root. */
  root: string
  entrypoint?: string[]
  /** What follows the entrypoint unless a container says otherwise. */
  arguments?: string[]
  environment?: Record<string, string>
}

const architectures: Partial<Record<NodeJS.Architecture, string>> = { x64: 'amd64', arm64: 'arm64' }
const searchPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * Packs a folder into an image of one layer, as `ctr images import` and `docker load` take it: an OCI image layout in a
 * tar archive (OCI image specification 1.1, "Image Layout"). The same folder gives the same image.
 */
export async function packImage(options: ImageOptions, file: string): Promise<void> {
  mkdirSync(dirname(file), { recursive: true })
  const layout = mkdtempSync(`${file}.layout-`)
  try {
    const blobs = join(layout, 'blobs', 'sha256')
    mkdirSync(blobs, { recursive: true })
    await writeLayout(options, layout, blobs)
    await archive(layout, `${layout}.new`) // a name of its own: two may make the same image at once
    renameSync(`${layout}.new`, file)
  } finally {
    await rm(layout, { recursive: true, force: true })
  }
}

async function writeLayout(options: ImageOptions, layout: string, blobs: string): Promise<void> {
  const { reference, root, entrypoint, arguments: usual, environment = {} } = options
  await archive(root, join(layout, 'layer'))
  const layerDigest = await digestOf(join(layout, 'layer'))
  const layerSize = statSync(join(layout, 'layer')).size
  renameSync(join(layout, 'layer'), join(blobs, layerDigest))
  const architecture = architectures[process.arch] ?? process.arch
  const variables = Object.entries({ PATH: searchPath, ...environment })
  const configuration = putBlob(blobs, {
    architecture,
    os: 'linux',
    config: { Env: variables.map(([name, value]) => `${name}=${value}`), ...(entrypoint ? { Entrypoint: entrypoint } : {}), ...(usual ? { Cmd: usual } : {}) },
    rootfs: { type: 'layers', diff_ids: [`sha256:${layerDigest}`] },
  }) // prettier-ignore
  const type = (name: string): string => `application/vnd.oci.image.${name}`
  const manifest = putBlob(blobs, {
    schemaVersion: 2,
    mediaType: type('manifest.v1+json'),
    config: { mediaType: type('config.v1+json'), ...configuration },
    layers: [{ mediaType: type('layer.v1.tar'), digest: `sha256:${layerDigest}`, size: layerSize }],
  })
  const annotations = {
    'io.containerd.image.name': reference,
    'org.opencontainers.image.ref.name': reference.split(':').at(-1),
  }
  const platform = { architecture, os: 'linux' }
  const entry = { mediaType: type('manifest.v1+json'), ...manifest, platform, annotations }
  writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, mediaType: type('index.v1+json'), manifests: [entry] })) // prettier-ignore
  writeFileSync(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }))
}

function putBlob(blobs: string, content: object): { digest: string; size: number } {
  const bytes = Buffer.from(JSON.stringify(content))
  const digest = createHash('sha256').update(bytes).digest('hex')
  writeFileSync(join(blobs, digest), bytes)
  return { digest: `sha256:${digest}`, size: bytes.length }
}

async function archive(folder: string, file: string): Promise<void> {
  const reproducible = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--format=pax']
  const pax = '--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime'
  await exec(['tar', ...reproducible, pax, '-C', folder, '-cf', file, '.'], { deadline: 600_000 })
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(file), hash)
  return hash.digest('hex')
}
