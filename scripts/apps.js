'use strict';

// npm run test:apps [-- NAME ... --no-build]: published programs and tools, as their users deploy them, in one process and under
// drover (__test__/apps). Their packages are installed into .cache/packages in the versions that each names.
//
// A line a program, and one of JSON at the end: `programs` tried, how many answered the `same` and exited in order,
// `roll_failed` and `kill_failed` requests, `hooks_missed`, `slow_stops`, `noisy` programs; `detail` has what was wrong.

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { Skipped, endScopes, scope } = require('../__test__/apps/scope');
const { faults, trial } = require('../__test__/apps/trial');
const { build } = require('./build');
const { root } = require('./support/child');
const { install } = require('./support/install');
const { Trouble, main, say } = require('./support/terminal');

const folder = path.join(root, '__test__', 'apps', 'programs');

const COLUMNS = [22, 7, 14, 14, 9, 20, 6];
const row = (cells) => say(cells.map((cell, column) => String(cell).padEnd(COLUMNS[column])).join(' ').trimEnd());

function tell(name, { differing, roll, kill, hooks, stop, noise }) {
  row([
    name,
    differing.length === 0 ? 'same' : 'DIFFERS',
    `${roll.failures.length} of ${roll.answered}`,
    `${kill.failures.length} of ${kill.answered}`,
    hooks.of === 0 ? '-' : `${hooks.of - hooks.missed.length} of ${hooks.of}`,
    `${Math.round(stop.alone)} -> ${Math.round(stop.drover)} ms`,
    noise.length,
  ]);
}

for (const [signal, number] of [
  ['SIGINT', 2],
  ['SIGTERM', 15],
]) {
  process.once(signal, () => endScopes().finally(() => process.exit(128 + number)));
}

main(async () => {
  const all = fs.readdirSync(folder).map((name) => path.basename(name, '.js')).sort();
  const { values, positionals: words } = parseArgs({ allowPositionals: true, options: { 'no-build': { type: 'boolean' } } });
  const wanted = words.length === 0 ? all : all.filter((name) => words.includes(name));
  const unknown = words.filter((word) => !all.includes(word));
  if (unknown.length > 0) throw new Trouble(`There is no program ${unknown.join(', ')}. There are: ${all.join(', ')}.`);
  await install();
  if (!values['no-build']) await build();
  row(['program', 'answers', 'roll', 'kill', 'hooks', 'stop', 'noise']);
  const sum = { programs: 0, same: 0, roll_failed: 0, kill_failed: 0, hooks_missed: 0, slow_stops: 0, noisy: 0 };
  const detail = {};
  for (const name of wanted) {
    try {
      const result = await scope((t) => trial(t, require(path.join(folder, name))));
      tell(name, result);
      sum.programs += 1;
      sum.same += result.differing.length === 0 ? 1 : 0;
      sum.roll_failed += result.roll.failures.length;
      sum.kill_failed += result.kill.failures.length;
      sum.hooks_missed += result.hooks.missed.length;
      sum.slow_stops += result.stop.isSlow ? 1 : 0;
      sum.noisy += result.noise.length > 0 ? 1 : 0;
      const wrong = faults(result);
      if (wrong !== null) detail[name] = wrong;
    } catch (error) {
      row([name, error instanceof Skipped ? error.message : `FAILED ${error.message}${error.cause ? ` (${error.cause.message})` : ''}`]);
      if (!(error instanceof Skipped)) sum.programs += 1;
      detail[name] = { error: error.message.split('\n')[0] };
    }
  }
  say(JSON.stringify({ ...sum, detail }));
  return Object.keys(detail).length === 0 ? 0 : 1;
});
