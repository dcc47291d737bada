'use strict';

const js = require('@eslint/js');
const globals = require('globals');

module.exports = [
  // The napi CLI writes the loader; the compiler checks the declarations.
  { ignores: ['binding.js', 'target/', '.cache/', 'coverage/', 'bench/**/target/', 'src/admin/dashboard/uplot/', '**/*.d.ts', '**/*.ts'] },
  js.configs.recommended,
  {
    files: ['**/*.js', '**/*.cjs'],
    ignores: ['src/admin/dashboard/**', 'examples/next/app/**'],
    languageOptions: { ecmaVersion: 2023, sourceType: 'commonjs', globals: globals.node },
  },
  {
    files: ['**/*.mjs'],
    languageOptions: { ecmaVersion: 2023, sourceType: 'module', globals: globals.nodeBuiltin },
  },
  {
    // The page in the browser.
    files: ['src/admin/dashboard/*.js'],
    languageOptions: { ecmaVersion: 2023, sourceType: 'module', globals: globals.browser },
  },
  {
    files: ['examples/next/app/**/*.js'],
    languageOptions: { ecmaVersion: 2023, sourceType: 'module', globals: globals.node, parserOptions: { ecmaFeatures: { jsx: true } } },
  },
  // Some of its functions run in the page.
  { files: ['__test__/dashboard.test.js'], languageOptions: { globals: globals.browser } },
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
  { files: ['**/*.mjs', 'src/admin/dashboard/*.js', 'examples/next/app/**'], rules: { strict: 'off' } },
];
