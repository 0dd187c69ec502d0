import type { FileTree } from './file-tree.ts'

/** A tree of files as captured from a machine: lines of a path and, after a tab, what reading it gave. For tests. */
function capturedTree(text: string): FileTree {
  const files = new Map(text.split('\n').flatMap((line) => (line ? [splitOnce(line)] : [])))
  const read = (path: string): string | undefined => files.get(path)
  return {
    read,
    readLater: (path) => Promise.resolve(read(path)),
    list: (folder) => [...new Set([...files.keys()].flatMap((path) => entryIn(folder, path)))],
  }
}

/** The captures of a text, by the words after CAPTURE that open each one. */
export function capturesIn(text: string): Map<string, FileTree> {
  const sections = text.split(/^CAPTURE /m).slice(1)
  return new Map(
    sections.map((section) => {
      const end = section.indexOf('\n')
      return [section.slice(0, end), capturedTree(section.slice(end + 1))]
    }),
  )
}

function splitOnce(line: string): [string, string] {
  const [path, ...rest] = line.split('\t')
  return [path!, rest.join('\t')]
}

function entryIn(folder: string, path: string): string[] {
  return path.startsWith(`${folder}/`) ? [path.slice(folder.length + 1).split('/')[0]!] : []
}
