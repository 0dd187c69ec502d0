import { Conflict } from '../../../base/index.ts'
import { factsAt } from './place-facts.ts'
import { nextPublishStep, nextUnpublishStep } from './publish-decision.ts'
import type { PublishRecord } from './publish-journal.ts'
import { kernelPath } from './publish-path.ts'
import type { PublishSystem } from './publish-system.ts'

/** Shows staged volumes at the paths where containers see them, and takes them away from there. */
export class VolumeTargets {
  readonly #system: PublishSystem

  constructor(system: PublishSystem) {
    this.#system = system
  }

  /** Takes the steps that are left until the volume is shown there. Throws Conflict when one cannot be taken. */
  async bring(record: PublishRecord, path: string, readOnly: boolean, isTold: boolean): Promise<void> {
    const system = this.#system
    const { device, access, stagingPath, volumeName } = record
    const target = kernelPath(path)!
    for (;;) {
      const step = nextPublishStep({ access, readOnly }, factsAt(system, path, device, access), isTold)
      switch (step.step) {
        case 'done':
          return
        case 'refuse':
          throw new Conflict(`volume ${volumeName}: ${step.why}`, {
            remedy: step.remedy,
            details: { isOtherwise: step.isOtherwise ?? false },
          })
        case 'make-target':
          if (access === 'mount') system.makeFolder(target)
          else system.makeFile(target)
          break
        case 'bind':
          await system.bind(access === 'mount' ? stagingPath : device, target)
          break
        case 'make-read-only':
          await system.makeReadOnly(target)
          break
      }
    }
  }

  /**
   * Takes a volume away from a path, which is removed. Throws Conflict when something else is there; with `undo`, what
   * this volume did not put there stays without a word.
   */
  async remove(device: string | undefined, access: 'mount' | 'block', path: string, undo?: 'undo'): Promise<void> {
    const target = kernelPath(path)
    if (target === undefined) return
    for (;;) {
      const step = nextUnpublishStep(factsAt(this.#system, path, device, access))
      if (step.step === 'done') return
      if (step.step === 'refuse') {
        if (undo) return
        throw new Conflict(`${path}: ${step.why}`, { remedy: step.remedy })
      }
      if (step.step === 'unmount') await this.#system.unmount(target)
      else this.#system.remove(target)
    }
  }
}
