import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { crdFiles, crdFolder } from '../../../deploy/generate/crds.ts'

test('the generated CustomResourceDefinitions are those of the kinds (else run: node deploy/generate/main.ts)', () => {
  const committed = new Map(readdirSync(crdFolder).map((name) => [name, readFileSync(join(crdFolder, name), 'utf8')]))
  expect(committed).toEqual(crdFiles())
})

test('descriptions come from the doc comments, also of shared schemas', () => {
  const crd = parse(crdFiles().get('endpoints.yaml')!) as {
    spec: { versions: { schema: { openAPIV3Schema: never } }[] }
  }
  const schema = crd.spec.versions[0]!.schema.openAPIV3Schema as Record<string, never>
  const text = JSON.stringify(schema)
  expect(schema.description).toMatch(/^One interface of one container/)
  expect(text).toContain('Unicast MAC asked for')
  expect(text).toContain('The pod as CNI_ARGS named it')
})
