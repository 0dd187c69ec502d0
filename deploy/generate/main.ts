import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crdFiles, crdFolder } from './crds.ts'
import { csiDescriptor, csiDescriptorFile } from './csi-descriptor.ts'

/** Writes the generated files anew; unit tests compare them with what is committed. */
mkdirSync(crdFolder, { recursive: true })
const files = crdFiles()
for (const name of readdirSync(crdFolder)) if (!files.has(name)) rmSync(join(crdFolder, name))
for (const [name, content] of files) writeFileSync(join(crdFolder, name), content)
writeFileSync(csiDescriptorFile, csiDescriptor())
