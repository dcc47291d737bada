'use strict';

// npm run test:apps [-- NAME ... --no-build]: runs published programs and tools, as their users deploy them, in one
// process and under drover (__test__/apps). Their packages are installed into .cache/packages, in the versions that
// each program lists.
//
// A line a program, and one of JSON at the end: `programs` tried, how many answered the `same` and exited in order,
// `roll_failed` and `kill_failed` requests, `hooks_missed`, `slow_stops` (of idle programs; `lingering`: that many more took
// long right after their first answer), `noisy` programs; `detail` has what was wrong. Of
// tracers (__test__/apps/tracers): `spans_missing` and `spans_doubled` of a load through three rolls.

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { Skipped, endScopes, scope } = require('../__test__/apps/scope');
const { traced } = require('../__test__/apps/traced');
const { faults, trial } = require('../__test__/apps/trial');
const { build } = require('./build');
const { root } = require('./support/child');
const { install } = require('./support/install');
const { Trouble, main, say } = require('./support/terminal');

const folder = path.join(root, '__test__', 'apps', 'programs');
const tracers = path.join(root, '__test__', 'apps', 'tracers');

const namesIn = (place) => fs.readdirSync(place).map((name) => path.basename(name, '.js')).sort();

const COLUMNS = [22, 7, 14, 14, 9, 30, 6];
const row = (cells) => say(cells.map((cell, column) => String(cell).padEnd(COLUMNS[column])).join(' ').trimEnd());

function tell(name, { differing, roll, kill, hooks, stop, noise }) {
  row([
    name,
    differing.length === 0 ? 'same' : 'DIFFERS',
    `${roll.failures.length} of ${roll.answered}`,
    `${kill.failures.length} of ${kill.answered}`,
    hooks.of === 0 ? '-' : `${hooks.of - hooks.missed.length} of ${hooks.of}`,
    `${Math.round(stop.alone)} -> ${Math.round(stop.drover)} ms${stop.lingered === null ? '' : ` (${Math.round(stop.lingered)} at once)`}`,
    noise.length,
  ]);
}

for (const [signal, number] of [
  ['SIGINT', 2],
  ['SIGTERM', 15],
]) {
  process.once(signal, () => endScopes().finally(() => process.exit(128 + number)));
}

// Started processes are ended even if a client's library throws an uncaught error.
process.once('uncaughtException', (error) => {
  process.stderr.write(`${error.stack}\n`);
  endScopes().finally(() => process.exit(1));
});

main(async () => {
  const all = [...namesIn(folder), ...namesIn(tracers)];
  const { values, positionals: words } = parseArgs({ allowPositionals: true, options: { 'no-build': { type: 'boolean' } } });
  const wanted = words.length === 0 ? all : all.filter((name) => words.includes(name));
  const unknown = words.filter((word) => !all.includes(word));
  if (unknown.length > 0) throw new Trouble(`There is no program ${unknown.join(', ')}. There are: ${all.join(', ')}.`);
  await install();
  if (!values['no-build']) await build();
  row(['program', 'answers', 'roll', 'kill', 'hooks', 'stop', 'noise']);
  const sum = { programs: 0, same: 0, roll_failed: 0, kill_failed: 0, hooks_missed: 0, slow_stops: 0, lingering: 0, noisy: 0, spans_missing: 0, spans_doubled: 0 };
  const detail = {};
  const tryProgram = async (name) => {
    const result = await scope((t) => trial(t, require(path.join(folder, name))));
    tell(name, result);
    sum.programs += 1;
    sum.same += result.differing.length === 0 ? 1 : 0;
    sum.roll_failed += result.roll.failures.length;
    sum.kill_failed += result.kill.failures.length;
    sum.hooks_missed += result.hooks.missed.length;
    sum.slow_stops += result.stop.isSlow ? 1 : 0;
    sum.lingering += result.stop.lingered !== null && !result.stop.isSlow ? 1 : 0;
    sum.noisy += result.noise.length > 0 ? 1 : 0;
    const wrong = faults(result);
    if (wrong !== null) detail[name] = wrong;
  };
  const tryTracer = async (name) => {
    const { answered, failed, missing, doubled } = await scope((t) => traced(t, require(path.join(tracers, name))));
    row([name, `${answered} requests through three rolls: ${failed} failed, ${missing} spans missing, ${doubled} doubled`]);
    sum.spans_missing += missing;
    sum.spans_doubled += doubled;
    sum.roll_failed += failed;
    if (failed + missing + doubled > 0) detail[name] = { failed, missing, doubled };
  };
  for (const name of wanted) {
    try {
      await (namesIn(tracers).includes(name) ? tryTracer : tryProgram)(name);
    } catch (error) {
      row([name, error instanceof Skipped ? error.message : `FAILED ${error.message}${error.cause ? ` (${error.cause.message})` : ''}`]);
      if (!(error instanceof Skipped)) sum.programs += 1;
      detail[name] = { error: error.message.split('\n')[0] };
    }
  }
  say(JSON.stringify({ ...sum, detail }));
  return Object.keys(detail).length === 0 ? 0 : 1;
});
