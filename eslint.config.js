'use strict';

const js = require('@eslint/js');
const globals = require('globals');

module.exports = [
  // The napi CLI writes the loader; the compiler checks the declarations.
  { ignores: ['binding.js', 'target/', '.cache/', 'coverage/', 'bench/**/target/', '**/*.d.ts', '**/*.ts'] },
  js.configs.recommended,
  {
    files: ['**/*.js', '**/*.cjs'],
    languageOptions: { ecmaVersion: 2023, sourceType: 'commonjs', globals: globals.node },
  },
  {
    files: ['**/*.mjs'],
    languageOptions: { ecmaVersion: 2023, sourceType: 'module', globals: globals.nodeBuiltin },
  },
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: 'error',
      'no-unused-vars': ['error', { args: 'after-used', argsIgnorePattern: '^_', caughtErrors: 'all' }],
      'no-var': 'error',
      'prefer-const': 'error',
      strict: ['error', 'global'],
    },
  },
  // Modules are strict by themselves.
  { files: ['**/*.mjs'], rules: { strict: 'off' } },
];
