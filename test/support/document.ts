import { readFileSync } from 'node:fs'

/** What is to be put in place of what a document cannot know, such as `REGISTRY`. */
export type Replacements = Record<string, string>

/** A page of the documentation whose commands and objects are tried as they stand there. */
export class Document {
  readonly #file: string
  readonly #text: string
  readonly #blocks: string[]

  constructor(file: string) {
    this.#file = file
    this.#text = readFileSync(file, 'utf8')
    // a block within a list is indented
    this.#blocks = [...this.#text.matchAll(/^( *)```\w*\n([\s\S]*?)^ *```$/gm)].map(([, indent, body]) =>
      body!.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
    )
  }

  /** The one block that contains a text. Throws when there is another number of them, or nothing to be replaced. */
  block(text: string, replacements: Replacements = {}): string {
    const found = this.#blocks.filter((block) => block.includes(text))
    if (found.length !== 1) throw new Error(`${this.#file} has ${found.length} blocks with: ${text}`)
    return this.#replace(found[0]!, replacements)
  }

  /** A command that stands in a sentence, between backticks. Throws when it does not stand there. */
  command(text: string, replacements: Replacements = {}): string {
    if (!this.#text.includes(`\`${text}\``)) throw new Error(`${this.#file} does not have the command: ${text}`)
    return this.#replace(text, replacements)
  }

  #replace(text: string, replacements: Replacements): string {
    let replaced = text
    for (const [from, to] of Object.entries(replacements)) {
      if (!replaced.includes(from)) throw new Error(`${this.#file}: nothing to replace for ${from} in: ${text}`)
      replaced = replaced.replaceAll(from, to)
    }
    return replaced
  }
}
