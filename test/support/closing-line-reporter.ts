import type { Reporter, SerializedError, TestModule } from 'vitest/node'

/** Ends a test run with one plain line: `12 passed, 0 failed, 1 skipped`. */
export class ClosingLineReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const line = closingLine(modules, unhandledErrors.length)
    // The default reporter prints its own summary in this same hook; ours comes last when the process ends.
    process.once('exit', () => process.stdout.write(`${line}\n`))
  }
}

/** Counts tests; a file that could not be loaded and an error outside any test count as one failure each. */
function closingLine(modules: readonly TestModule[], unhandledErrors: number): string {
  const count = { passed: 0, failed: unhandledErrors, skipped: 0, pending: 0 }
  for (const module of modules) {
    count.failed += module.errors().length
    for (const test of module.children.allTests()) count[test.result().state]++
  }
  return `${count.passed} passed, ${count.failed} failed, ${count.skipped + count.pending} skipped`
}
