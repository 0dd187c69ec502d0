import { copyFileSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { exec } from '../../src/base/index.ts'
import { places } from '../places.ts'

/** Where containerd has the files of images and the layers that it has unpacked, which nobody changes any more. */
const sharedFolders = ['io.containerd.content.v1.content/blobs', 'io.containerd.snapshotter.v1.overlayfs/snapshots']
/** What it knows of them. */
const databases = ['io.containerd.metadata.v1.bolt/meta.db', 'io.containerd.snapshotter.v1.overlayfs/metadata.db']

/**
 * Gives a node that has never started containerd the images of another one, on which containerd does not run: both have
 * the same files, by hard links, and each has databases of its own.
 */
export async function shareImages(from: string, to: string): Promise<void> {
  const inside = (node: string, path: string): string => join(places.disk(node), 'containerd', path)
  for (const path of [...sharedFolders, ...databases]) {
    mkdirSync(dirname(inside(to, path)), { recursive: true, mode: 0o711 })
  }
  for (const folder of sharedFolders) {
    await exec(['cp', '--archive', '--link', inside(from, folder), inside(to, folder)], { deadline: 300_000 })
  }
  for (const file of databases) copyFileSync(inside(from, file), inside(to, file))
}
