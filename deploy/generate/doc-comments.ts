import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import ts from 'typescript'

/** The doc comments of a schema, by the place in it that they stand at. */
export interface Documentation {
  description?: string
  properties: Record<string, Documentation>
  items?: Documentation
}

/**
 * Reads the doc comments of the schemas in a source file, so that what developers read in the code is what users read in
 * `kubectl explain`. Follows constants into the files they are imported from.
 */
export class DocumentationReader {
  readonly #files = new Map<string, ts.SourceFile>()

  /** Documentation of the kind or schema that a file exports under a name; undefined when there is no such constant. */
  read(file: string, name: string): Documentation | undefined {
    const source = this.#source(file)
    const declared = declarationOf(source, name)
    if (declared) return this.#describe(declared.initializer!, source, commentOf(declared.parent.parent))
    const imported = importOf(source, name)
    return imported && this.read(join(dirname(file), imported.from), imported.name)
  }

  #source(file: string): ts.SourceFile {
    const known = this.#files.get(file)
    if (known) return known
    const source = ts.createSourceFile(file, readFileSync(file, 'utf8'), ts.ScriptTarget.Latest, true)
    this.#files.set(file, source)
    return source
  }

  #describe(node: ts.Expression, source: ts.SourceFile, comment?: string): Documentation {
    const described = this.#content(node, source)
    const description = comment ?? described.description
    return { ...described, ...(description ? { description } : {}) }
  }

  #content(node: ts.Expression, source: ts.SourceFile): Documentation {
    if (ts.isIdentifier(node)) return this.read(source.fileName, node.text) ?? { properties: {} }
    if (ts.isObjectLiteralExpression(node)) return { properties: this.#properties(node, source) }
    if (!ts.isCallExpression(node)) return { properties: {} }
    const [first] = node.arguments
    if (!first) return { properties: {} }
    switch (node.expression.getText(source)) {
      case 'defineKind':
        return this.#kind(first as ts.ObjectLiteralExpression, source)
      case 'Type.Array':
        return { properties: {}, items: this.#describe(first, source) }
      case 'Type.Union':
        return ts.isArrayLiteralExpression(first)
          ? first.elements.map((member) => this.#describe(member, source)).reduce(merge)
          : { properties: {} }
      default: // Type.Object, Type.Optional
        return this.#describe(first, source)
    }
  }

  #kind(definition: ts.ObjectLiteralExpression, source: ts.SourceFile): Documentation {
    const schema = definition.properties.find((property) => property.name?.getText(source) === 'schema')
    return this.#describe((schema as ts.PropertyAssignment).initializer, source)
  }

  #properties(node: ts.ObjectLiteralExpression, source: ts.SourceFile): Record<string, Documentation> {
    const assignments = node.properties.filter(ts.isPropertyAssignment)
    return Object.fromEntries(
      assignments.map((property) => [
        property.name.getText(source).replace(/^['"]|['"]$/g, ''),
        this.#describe(property.initializer, source, commentOf(property)),
      ]),
    )
  }
}

function merge(one: Documentation, other: Documentation): Documentation {
  return { ...other, ...one, properties: { ...other.properties, ...one.properties } }
}

function declarationOf(source: ts.SourceFile, name: string): ts.VariableDeclaration | undefined {
  const declarations = source.statements.filter(ts.isVariableStatement).flatMap(({ declarationList }) => [...declarationList.declarations]) // prettier-ignore
  return declarations.find((declaration) => declaration.name.getText(source) === name && declaration.initializer)
}

function importOf(source: ts.SourceFile, name: string): { from: string; name: string } | undefined {
  for (const statement of source.statements.filter(ts.isImportDeclaration)) {
    const bindings = statement.importClause?.namedBindings
    if (!bindings || !ts.isNamedImports(bindings)) continue
    const element = bindings.elements.find((candidate) => candidate.name.text === name)
    const from = (statement.moduleSpecifier as ts.StringLiteral).text
    if (element && from.startsWith('.')) return { from, name: (element.propertyName ?? element.name).text }
  }
  return undefined
}

/** The text of the doc comment right before a node, in one line. */
function commentOf(node: ts.Node): string | undefined {
  const [comment] = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc).slice(-1)
  const text = comment && ts.getTextOfJSDocComment(comment.comment)
  return text?.replace(/\s+/g, ' ').trim() || undefined
}
