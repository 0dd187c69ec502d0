import { configDefaults, defineConfig } from 'vitest/config'
import { ClosingLineReporter, EarlyFailureReporter } from './test/support/reporters.ts'

/**
 * Set by scripts/test-lanes.sh: this process runs a part of the tests and leaves its results in a file of this name; or
 * it is "all" and shows the results of all parts.
 */
const lane = process.env.TEST_LANE

/** What `expect.poll` waits for may be late on a busy machine; a second, which it has by itself, is not enough. */
const patient = { poll: { timeout: 15_000 } }

/** Tests on a whole lab. They mostly wait for its nodes, and have nothing in common with those of `kernel`. */
const labFiles = ['test/{lab,faults,csi}/**/*.test.ts', 'test/storage/volumes.test.ts']

/**
 * `unit` runs side by side; every other project one file after the other, because its files share the machine's network
 * namespaces, bpffs and processor time. `guest` and `guest-long` run in a virtual machine and share nothing with the rest.
 * `make test` is unit, kernel, lab and guest; the others take minutes for each file.
 */
export default defineConfig({
  test: {
    reporters:
      lane === undefined || lane === 'all'
        ? [lane === 'all' ? 'dot' : 'default', new ClosingLineReporter()]
        : ['default', new EarlyFailureReporter(), ['blob', { outputFile: `build/test-lanes/${lane}.json` }]],
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'lab/**/*.test.ts', 'bench/**/*.test.ts', 'test/unit/**/*.test.ts'],
          testTimeout: 30_000, // properties under a busy machine
          expect: patient,
          sequence: { groupOrder: 0 },
        },
      },
      serial('kernel', ['test/**/*.test.ts'], {
        order: 1,
        minutes: 3,
        exclude: [
          ...labFiles,
          'test/unit/**',
          'test/guest/**',
          'test/long/**',
          'test/kubernetes/**',
          'test/conformance/**',
        ],
      }),
      serial('lab', labFiles, { order: 2, minutes: 3 }),
      serial('guest', ['test/guest/*.test.ts'], { order: 3, minutes: 3 }),
      serial('long', ['test/long/**/*.test.ts'], { order: 4, minutes: 10 }),
      serial('kubernetes', ['test/kubernetes/**/*.test.ts'], { order: 5, minutes: 10, hookMinutes: 40 }),
      serial('conformance', ['test/conformance/*.test.ts'], { order: 6, minutes: 10, hookMinutes: 40 }),
      serial('guest-long', ['test/guest/long/**/*.test.ts'], { order: 7, minutes: 10 }),
    ],
  },
})

interface Serial {
  /** Projects of one run come one after the other, by this. */
  readonly order: number
  /** Minutes that one test may take, and a hook (2 unless told); the first hook on a machine waits until Kubernetes is built. */
  readonly minutes: number
  readonly hookMinutes?: number
  readonly exclude?: string[]
}

/** A project whose files run one after the other. */
function serial(name: string, include: string[], options: Serial) {
  const { order, minutes, hookMinutes = 2, exclude = [] } = options
  return {
    test: {
      name,
      include,
      exclude: [...configDefaults.exclude, ...exclude],
      fileParallelism: false,
      expect: patient,
      testTimeout: minutes * 60_000,
      hookTimeout: hookMinutes * 60_000,
      sequence: { groupOrder: order },
    },
  }
}
