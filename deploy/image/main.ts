import { parseArgs } from 'node:util'
import { buildImage } from './build.ts'

/** Builds the image: `node deploy/image/main.ts [--reference NAME:TAG] [--output FILE]`. */
const { values } = parseArgs({
  options: {
    reference: { type: 'string', default: 'docker.io/library/carbonado:local' },
    output: { type: 'string', default: 'build/images/carbonado.tar' },
  },
})
await buildImage(values.reference, values.output)
process.stdout.write(`${values.output}: ${values.reference}\n`)
