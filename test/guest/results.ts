/** Outcome of one test in the guest, one JSON line on its second serial line. */
export interface TestResult {
  file: string
  /** Names of the groups and of the test. */
  name: string
  milliseconds: number
  /** Why it failed, with the stack; absent when it passed. */
  error?: string
}

/** What the guest said of one test file: its tests, and with which code its process ended; undefined: it never did. */
export interface FileResult {
  file: string
  tests: TestResult[]
  exitCode: number | undefined
}

/** Results by file from what was written to the serial line; a line cut off by a crash is left out. */
export function readResults(files: string[], lines: string): FileResult[] {
  const parsed = lines.split('\n').flatMap((line) => {
    try {
      return [JSON.parse(line) as TestResult | { file: string; exitCode: number }]
    } catch {
      return []
    }
  })
  return files.map((file) => {
    const own = parsed.filter((each) => each.file === file)
    const tests = own.filter((each): each is TestResult => !('exitCode' in each))
    return { file, tests, exitCode: own.find((each) => 'exitCode' in each)?.exitCode }
  })
}
