'use strict';

// npm run test:adapters -- NAME FOLDER: the suite of a package whose interface an adapter of drover has, with the
// adapter instead of the package's own store. NAME is a file of __test__/adapters/suites, FOLDER a checkout of the
// package's repository, which is not changed. The tests that are left out are listed there with their reasons; one of
// them that passes is an error too. The last line of the output is JSON: tests, passed, left_out, failed, stale.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { packages } = require('../__test__/helpers/packages');
const { build } = require('./build');
const { root } = require('./support/child');
const { install } = require('./support/install');
const { Trouble, main, say } = require('./support/terminal');

const suites = path.join(root, '__test__', 'adapters', 'suites');

/** Of each runner: its script, the arguments for a report in a file, and the tests in that. */
const RUNNERS = {
  mocha: {
    script: 'mocha/bin/mocha.js',
    args: (suite, report) => ['--exit', '--reporter', 'json', '--reporter-option', `output=${report}`, ...suite.args],
    read: ({ tests, pending }) => tests.filter(({ fullTitle }) => pending.every((one) => one.fullTitle !== fullTitle)).map(({ fullTitle, err }) => ({ name: fullTitle, failure: err.message })),
  },
  jest: {
    script: 'jest/bin/jest.js',
    args: (suite, report, folder, modules) => ['--json', `--outputFile=${report}`, '--config', JSON.stringify(suite.config(folder, modules))],
    read: ({ testResults }) =>
      testResults.flatMap(({ name, message, assertionResults }) => {
        if (assertionResults.length === 0) return [{ name, failure: message }];
        return assertionResults.filter(({ status }) => status !== 'pending').map(({ fullName, status, failureMessages }) => ({ name: fullName, failure: status === 'passed' ? undefined : failureMessages.join('\n') }));
      }),
  },
};

/** Runs a suite; resolves to its tests. */
async function run(suite, folder) {
  const skip = (reason) => {
    throw new Trouble(reason);
  };
  const installed = await packages({ skip, diagnostic() {} }, suite.packages, { scripts: false });
  const modules = path.join(installed, 'node_modules');
  const env = { ...process.env, NODE_PATH: modules, ...suite.env };
  if (suite.before) spawnSync(suite.before[0], suite.before.slice(1), { cwd: folder, stdio: 'ignore' });
  const place = fs.mkdtempSync(path.join(os.tmpdir(), 'drover-suite-'));
  const report = path.join(place, 'report.json');
  const runner = RUNNERS[suite.runner];
  const args = [path.join(modules, runner.script), ...runner.args(suite, report, folder, modules)];
  try {
    const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: folder, env, encoding: 'utf8', maxBuffer: 1 << 30 });
    if (!fs.existsSync(report)) throw new Trouble(`${suite.runner} has written no report:\n${stdout}${stderr}`);
    return runner.read(JSON.parse(fs.readFileSync(report, 'utf8')));
  } finally {
    fs.rmSync(place, { recursive: true });
  }
}

main(async () => {
  const { positionals } = parseArgs({ allowPositionals: true });
  const [name, folder] = positionals;
  const names = fs.readdirSync(suites).map((file) => path.basename(file, '.js'));
  if (!names.includes(name) || folder === undefined) throw new Trouble(`npm run test:adapters -- NAME FOLDER; NAME is one of ${names.join(', ')}.`);
  await install();
  await build();
  const suite = require(path.join(suites, name));
  const tests = await run(suite, path.resolve(folder));
  const sum = { tests: tests.length, passed: 0, left_out: 0, failed: 0, stale: 0 };
  for (const { name: title, failure } of tests) {
    const reason = suite.leftOut[title];
    if (failure === undefined && reason === undefined) sum.passed += 1;
    else if (failure === undefined) {
      sum.stale += 1;
      say(`STALE    ${title}\n         is left out, but passes`);
    } else if (reason !== undefined) {
      sum.left_out += 1;
      say(`left out ${title}\n         ${reason}`);
    } else {
      sum.failed += 1;
      say(`FAILED   ${title}\n         ${failure.split('\n').join('\n         ')}`);
    }
  }
  say(JSON.stringify(sum));
  return sum.tests > 0 && sum.failed + sum.stale === 0 ? 0 : 1;
});
