import { stripVTControlCharacters } from 'node:util'
import type { Reporter, SerializedError, TestCase, TestModule, TestSuite } from 'vitest/node'

/**
 * Ends a test run with one plain line: `12 passed, 0 failed, 1 skipped`. Before it a line for each failure, so that the
 * last screen of a long output says what failed.
 */
export class ClosingLineReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const failures = modules.flatMap((module) =>
      [module, ...module.children.allSuites(), ...module.children.allTests()].flatMap(failuresOf),
    )
    for (const error of unhandledErrors) failures.push(failureLine('outside any test', error))
    const lines = [...failures, closingLine(modules, unhandledErrors.length)]
    // The default reporter prints its own summary in this same hook; ours comes last when the process ends.
    process.once('exit', () => process.stdout.write(`${lines.join('\n')}\n`))
  }
}

/** Says of each failure when it happens, which vitest does only when all is over: an hour later in a long suite. */
export class EarlyFailureReporter implements Reporter {
  onTestCaseResult(test: TestCase): void {
    show(test)
  }

  onTestSuiteResult(suite: TestSuite): void {
    show(suite)
  }

  onTestModuleEnd(module: TestModule): void {
    show(module)
  }
}

function show(entity: TestCase | TestSuite | TestModule): void {
  for (const line of failuresOf(entity)) console.log(line)
}

/** A line for each error of a test, or of a file or suite outside its tests (its hooks). */
function failuresOf(entity: TestCase | TestSuite | TestModule): string[] {
  const errors = entity.type === 'test' ? (entity.result().errors ?? []) : entity.errors()
  const name =
    entity.type === 'module' ? entity.relativeModuleId : `${entity.module.relativeModuleId} > ${entity.fullName}`
  return errors.map((error) => failureLine(name, error))
}

function failureLine(name: string, error: Pick<SerializedError, 'message'>): string {
  return `Failed: ${name}: ${stripVTControlCharacters(error.message).replaceAll(/\s+/g, ' ').slice(0, 500)}`
}

/** Counts tests; a hook that failed, a file that could not be loaded and an error outside any test count as one failure each. */
function closingLine(modules: readonly TestModule[], unhandledErrors: number): string {
  const count = { passed: 0, failed: unhandledErrors, skipped: 0, pending: 0 }
  for (const module of modules) {
    for (const group of [module, ...module.children.allSuites()]) count.failed += group.errors().length
    for (const test of module.children.allTests()) count[test.result().state]++
  }
  return `${count.passed} passed, ${count.failed} failed, ${count.skipped + count.pending} skipped`
}
