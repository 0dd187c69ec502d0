import { Internal } from '../../src/base/index.ts'
import { runGuest } from '../../test/guest/guest.ts'

/** What a file of measurements in a virtual machine printed, each after `MEASURED `. Throws Internal when it printed nothing or failed. */
export async function measuredInGuest<T>(file: string): Promise<T[]> {
  const outcome = await runGuest([file], { deadline: 1_800_000 })
  const measured = outcome.console.split('\n').flatMap((line) => {
    const [, text] = /MEASURED (.*)/.exec(line) ?? []
    return text === undefined ? [] : [JSON.parse(text) as T]
  })
  const error = outcome.crash ?? outcome.files.flatMap(({ tests }) => tests).find((test) => test.error)?.error
  if (error !== undefined || measured.length === 0) {
    throw new Internal(`the virtual machine measured nothing: ${error}`)
  }
  return measured
}
