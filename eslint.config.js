// Type-aware lint: floating promises are errors, and imports point down the layers
// base < api < store < guarantee < verb < features < programs (docs/architecture.md).
import tseslint from 'typescript-eslint'

/** Each layer with the folders it may not import from: everything above it, and its sibling features. */
const layers = [
  {
    files: 'src/base/**',
    forbidden: ['api', 'store', 'guarantee', 'verb', 'network', 'storage', 'control', 'agent', 'cli'],
  },
  { files: 'src/api/**', forbidden: ['store', 'guarantee', 'verb', 'network', 'storage', 'control', 'agent', 'cli'] },
  { files: 'src/store/**', forbidden: ['guarantee', 'verb', 'network', 'storage', 'control', 'agent', 'cli'] },
  { files: 'src/guarantee/**', forbidden: ['verb', 'network', 'storage', 'control', 'agent', 'cli'] },
  { files: 'src/verb/**', forbidden: ['network', 'storage', 'control', 'agent', 'cli'] },
  { files: 'src/network/**', forbidden: ['storage', 'control', 'agent', 'cli'] },
  { files: 'src/storage/**', forbidden: ['network', 'control', 'agent', 'cli'] },
  { files: 'src/control/**', forbidden: ['agent', 'cli'] },
  { files: 'src/agent/**', forbidden: ['control', 'cli'] },
  { files: 'src/cli/**', forbidden: ['control', 'agent'] },
]

/** Outside of src: nothing there is a layer, and only dctl opens the lab. */
const outside = { 'src/cli/**': ['bench', 'test'] }

const layerRules = layers.map(({ files, forbidden }) => ({
  files: [`${files}/*.ts`],
  ignores: ['**/*.test.ts'],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          {
            regex: `^(\\.\\./)+(${[...forbidden, ...(outside[files] ?? ['lab', 'bench', 'test'])].join('|')})/`,
            message: 'Imports point down: base < api < store < guarantee < verb < features < programs.',
          },
        ],
      },
    ],
  },
}))

export default tseslint.config(
  { ignores: ['node_modules/**', 'dist/**', 'build/**'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommended],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      eqeqeq: 'error',
    },
  },
  ...layerRules,
)
