import { join } from 'node:path'
import { projectRoot } from '../../lab/places.ts'
import type { Lab } from '../../lab/index.ts'
import { nodePlaces } from '../../lab/places.ts'
import { Node } from '../../src/api/index.ts'
import { exec } from '../../src/base/index.ts'

/** What csi-sanity said at its end. */
export interface SanityResult {
  passed: number
  failed: number
  skipped: number
  pending: number
  /** Names of the specs that were skipped, with the reasons that it gives. */
  skips: { name: string; reason: string }[]
  failures: string[]
}

/** Builds the conformance suites once. */
export async function buildSanity(): Promise<void> {
  await exec([join(projectRoot, 'scripts', 'go-tools.sh'), 'conformance'], { deadline: 580_000 })
}

interface SpecReport {
  LeafNodeText: string
  LeafNodeType: string
  ContainerHierarchyTexts: string[] | null
  State: string
  Failure?: { Message: string }
}

/** Volumes that the node may use while csi-sanity runs, which tries one more: it uses two at a time elsewhere. */
const maximumVolumes = 6

/** Runs the whole of csi-sanity on a node of the lab, with mounted volumes or with block devices. */
export async function runSanity(lab: Lab, node: string, access: 'mount' | 'block'): Promise<SanityResult> {
  await lab.store.patch(Node, { name: node }, { spec: { maximumVolumes } })
  const program = join(projectRoot, 'build', 'go', 'conformance', 'csi-sanity')
  const folder = `/run/csi-sanity-${access}`
  const options = [
    `--csi.endpoint=${nodePlaces.csiSocket}`,
    `--csi.mountdir=${folder}/mount`,
    `--csi.stagingdir=${folder}/staging`,
    `--csi.testvolumeaccesstype=${access}`,
    `--csi.testvolumesize=${64 * 2 ** 20}`,
    `--csi.testvolumeexpandsize=${128 * 2 ** 20}`,
    '--csi.testnodevolumeattachlimit',
    `--csi.testvolumeparameters=${folder}/parameters.yaml`,
    `--csi.testvolumemutableparameters=${folder}/mutable.yaml`,
    `--ginkgo.json-report=${folder}/report.json`,
    '--ginkgo.no-color',
  ]
  const script = `mkdir -p "$1"; echo 'perfTier: best-effort' | tee "$1/parameters.yaml" > "$1/mutable.yaml"; shift; "$@" >&2 || true`
  const { stderr } = await lab.nodeExec(node, ['sh', '-ec', script, 'sh', folder, program, ...options], {
    deadline: 580_000,
  })
  const { stdout } = await lab.nodeExec(node, ['sh', '-c', `cat ${folder}/report.json; rm -rf ${folder}`])
  if (stdout === '') throw new Error(`csi-sanity has left no report: ${stderr.slice(-2000)}`)
  return summaryOf((JSON.parse(stdout) as { SpecReports: SpecReport[] }[])[0]!.SpecReports)
}

function summaryOf(reports: SpecReport[]): SanityResult {
  const specs = reports.filter(({ LeafNodeType }) => LeafNodeType === 'It')
  const count = (state: string): number => specs.filter(({ State }) => State === state).length
  const nameOf = ({ ContainerHierarchyTexts, LeafNodeText }: SpecReport): string =>
    [...(ContainerHierarchyTexts ?? []), LeafNodeText].join(' / ')
  return {
    passed: count('passed'),
    failed: specs.filter(({ State }) => !['passed', 'skipped', 'pending'].includes(State)).length,
    skipped: count('skipped'),
    pending: count('pending'),
    skips: specs
      .filter(({ State }) => State === 'skipped')
      .map((spec) => ({ name: nameOf(spec), reason: spec.Failure?.Message ?? '' })),
    failures: specs
      .filter(({ State }) => !['passed', 'skipped', 'pending'].includes(State))
      .map((spec) => `${nameOf(spec)}: ${spec.Failure?.Message}`),
  }
}
