import { connect } from 'node:net'

/** Whether a program takes connections on the unix socket `path`; false also where there is none. */
export function isAnswering(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path, () => {
      probe.destroy()
      resolve(true)
    })
    probe.on('error', () => resolve(false))
  })
}
