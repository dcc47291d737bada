'use strict';

// npm test: runs all checks, from a fresh clone. `npm test -- clippy types` runs the steps whose names contain one of
// the words.

const fs = require('node:fs');
const path = require('node:path');
const { build } = require('./build');
const { CORE, suite } = require('./bun-suite');
const { endChildrenOnSignals, root, run } = require('./support/child');
const { withCargoDeny } = require('./support/deny');
const { install } = require('./support/install');
const { runSteps } = require('./support/steps');
const { Trouble, main } = require('./support/terminal');
const { requireToolchain } = require('./support/toolchain');

/** How long a test file may take before it counts as hung, milliseconds. */
const TEST_TIMEOUT = 300_000;

const passes = async (command, args, env) => (await run(command, args, { env })).code === 0;
const cargo = (...args) => passes('cargo', args, requireToolchain());
const node = (...args) => passes(process.execPath, args);
const tool = (name, ...args) => node(path.join(root, 'node_modules', name), ...args);

/** Two files at a time: tests mostly wait, and no test may depend on an otherwise idle machine. */
const nodeTest = (files) => node('--test', '--test-concurrency=2', `--test-timeout=${TEST_TIMEOUT}`, ...files);

function testFiles() {
  const folder = path.join(root, '__test__');
  return fs
    .readdirSync(folder)
    .filter((name) => name.endsWith('.test.js'))
    .sort()
    .map((name) => path.join(folder, name));
}

/** Runs the tests of dispatch, rolls, crashes and messages with programs under Bun. */
async function bunTests() {
  const { failed, stale } = await suite(CORE);
  return failed + stale === 0;
}

const isExamples = (file) => path.basename(file) === 'examples.test.js';

const done = async (work) => {
  await work;
  return true;
};

/** The generated files that were outdated when the addon was built. */
let stale = [];

const buildAddon = async () => {
  stale = await build();
  return true;
};

/** The build has compared them already; another build is not necessary. */
function generatedFilesAreFresh() {
  if (stale.length === 0) return true;
  throw new Trouble(
    `${stale.join(' and ')}: not what src/bindings generated. The build has written what it generates: commit that.`,
  );
}

/** The other steps need these, so they always run. */
const preparation = [
  { name: 'npm install', run: () => done(install()) },
  { name: 'build', run: buildAddon },
];

const steps = [
  { name: 'rustfmt', run: () => cargo('fmt', '--check') },
  {
    name: 'clippy, the core alone',
    run: () => cargo('clippy', '--all-targets', '--no-default-features', '--', '-D', 'warnings'),
  },
  { name: 'clippy, with Node-API', run: () => cargo('clippy', '--all-targets', '--', '-D', 'warnings') },
  // Only bindings need Node-API, and have no tests: with it the same tests would run again.
  { name: 'Rust tests', run: () => cargo('test', '--no-default-features') },
  {
    name: 'licences and sources of the crates',
    run: async () =>
      passes(
        'cargo',
        ['deny', '--all-features', 'check', 'licenses', 'bans', 'sources'],
        await withCargoDeny(requireToolchain()),
      ),
  },
  { name: 'eslint', run: () => tool('eslint/bin/eslint.js', '.') },
  { name: 'types of the JavaScript', run: () => tool('typescript/bin/tsc', '--project', 'tsconfig.json') },
  {
    name: 'types of the declarations, tested',
    run: () => tool('typescript/bin/tsc', '--project', '__test__/types/tsconfig.json'),
  },
  { name: 'binding.js and binding.d.ts are fresh', run: generatedFilesAreFresh },
  { name: 'JavaScript tests', run: () => nodeTest(testFiles().filter((file) => !isExamples(file))) },
  { name: 'tests under Bun', run: bunTests },
  { name: 'examples', run: () => nodeTest(testFiles().filter(isExamples)) },
];

endChildrenOnSignals();

main(async () => {
  const words = process.argv.slice(2);
  const wanted = steps.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)));
  if (wanted.length === 0)
    throw new Trouble(`No step is named like that. There are: ${steps.map(({ name }) => name).join('; ')}.`);
  return runSteps([...preparation, ...wanted]);
});
