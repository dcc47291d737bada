'use strict';

// npm run test:bun [-- FILE ... --only WORD --no-build]: runs drover's tests with programs under Bun. What differs from
// Node.js is listed with its reason in __test__/bun-differences.js: it is printed, and a listed test that passes is an
// error too, so that the list stays true. The last line of the output is JSON: tests, passed, differ, failed, stale.

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');
const { parseArgs } = require('node:util');
const { differences, elsewhere } = require('../__test__/bun-differences');
const { bunVersion, installBun } = require('../__test__/helpers/buns');
const { build } = require('./build');
const { root } = require('./support/child');
const { install } = require('./support/install');
const { Trouble, duration, main, say } = require('./support/terminal');

/** How long a test file may take before it counts as hung, milliseconds. */
const TEST_TIMEOUT = 300_000;

/** Files whose programs are those of dispatch, rolls, crashes and messages: npm test runs them. */
const CORE = ['dispatch', 'rolling', 'crashes', 'messages', 'handoff'];

const folder = path.join(root, '__test__');

const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** Calls `each` with the result of every test of the files. */
async function runTests(files, bun, each) {
  const reporter = path.join(__dirname, 'support', 'results-reporter.mjs');
  const args = ['--test', '--test-concurrency=2', `--test-timeout=${TEST_TIMEOUT}`, `--test-reporter=${reporter}`, '--test-reporter-destination=stdout', ...files];
  const child = spawn(process.execPath, args, { cwd: root, env: { ...process.env, DROVER_TEST_RUNTIME: bun }, stdio: ['ignore', 'pipe', 'inherit'] });
  running.add(child);
  const ended = new Promise((resolve) => child.once('exit', resolve));
  for await (const line of readline.createInterface({ input: child.stdout })) {
    if (line.startsWith('{')) each(JSON.parse(line));
  }
  await ended;
  running.delete(child);
}

/** The test files with these names (without `.test.js`); all if there are none. */
function filesNamed(names) {
  const all = fs.readdirSync(folder).filter((name) => name.endsWith('.test.js')).sort();
  const wanted = names.length === 0 ? all.filter((name) => !(name in elsewhere)) : names.map((name) => `${name}.test.js`);
  const unknown = wanted.filter((name) => !all.includes(name));
  if (unknown.length > 0) throw new Trouble(`There is no ${unknown.join(', ')} in __test__.`);
  return wanted.map((name) => path.join(folder, name));
}

/** The path of Bun; null if it cannot be installed, which is an error with CI=true. */
async function findBun() {
  try {
    return await installBun();
  } catch (error) {
    if (process.env.CI === 'true') throw error;
    say(`SKIPPED: ${error.message}`);
    return null;
  }
}

/** Runs the files under Bun; resolves to the counts. */
async function suite(names) {
  const bun = await findBun();
  if (bun === null) return { failed: 0, stale: 0 };
  const since = Date.now();
  const sum = { bun: bunVersion, tests: 0, passed: 0, differ: 0, failed: 0, stale: 0 };
  await runTests(filesNamed(names), bun, ({ file, name, outcome, message }) => {
    if (outcome === 'skip') return;
    sum.tests += 1;
    const reason = differences[file]?.[name];
    if (outcome === 'pass' && reason === undefined) sum.passed += 1;
    else if (outcome === 'pass') {
      sum.stale += 1;
      say(`STALE   ${file}: ${name}\n        listed as different, but passes`);
    } else if (reason !== undefined) {
      sum.differ += 1;
      say(`differs ${file}: ${name}\n        ${reason}`);
    } else {
      sum.failed += 1;
      say(`FAILED  ${file}: ${name}\n        ${message.replaceAll('\n', '\n        ')}`);
    }
  });
  for (const [file, reason] of Object.entries(elsewhere)) if (names.length === 0) say(`left out ${file}: ${reason}`);
  say(`${sum.tests} tests under Bun ${bunVersion} in ${duration(Date.now() - since)}`);
  return sum;
}

if (require.main === module) {
  main(async () => {
    const { values, positionals } = parseArgs({ allowPositionals: true, options: { 'no-build': { type: 'boolean' } } });
    await install();
    if (!values['no-build']) await build();
    const sum = await suite(positionals);
    say(JSON.stringify(sum));
    return sum.failed + sum.stale === 0 ? 0 : 1;
  });
}

module.exports = { CORE, suite };
