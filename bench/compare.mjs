// npm run bench:compare -- COMMIT NAME ... [--pairs N] [--quick] [--same-bench]
//
// Compares the benchmarks with those of another commit: `npm run bench:compare -- v1.0.0 dispatch ipc --quick`. The
// commit is checked out and built in .cache/compare; then each benchmark runs there and here alternately, in reverse
// order every second time, so that a drift of the machine affects both. A soak is named by its script: `soak`. With
// --same-bench the commit's bench/ is replaced by the current one, which may measure more.
//
// Prints one line per figure: its medians there and here, and the median of the ratios here / there of adjacent runs.
// The last line of standard output is JSON: { commit, pairs, ratios: { [bench]: { [figure]: ratio } } }.

import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { median, ratio, row } from './support/figures.mjs';

const here = path.resolve(import.meta.dirname, '..');

const { values: options, positionals: [name, ...benches] } = parseArgs({
  allowPositionals: true,
  options: { pairs: { type: 'string', default: '3' }, quick: { type: 'boolean', default: false }, 'same-bench': { type: 'boolean', default: false } },
});
const pairs = Number(options.pairs);
if (!(Number.isInteger(pairs) && pairs > 0)) throw new Error('--pairs is a whole number from 1 on');
if (benches.length === 0) throw new Error('name a commit and at least one bench: npm run bench:compare -- HEAD~10 dispatch');

const git = (...args) => execFileSync('git', args, { cwd: here, encoding: 'utf8' }).trim();

/** The folder of the commit, built. */
function checkedOut(commit) {
  const folder = path.join(here, '.cache', 'compare', commit);
  if (!fs.existsSync(folder)) git('worktree', 'add', '--detach', folder, commit);
  execFileSync('git', ['checkout', '--quiet', commit, '--', 'bench'], { cwd: folder });
  if (options['same-bench']) fs.cpSync(path.join(here, 'bench'), path.join(folder, 'bench'), { recursive: true });
  for (const args of [['ci', '--no-audit', '--no-fund'], ['run', 'build']]) {
    execFileSync('npm', args, { cwd: folder, stdio: ['ignore', 'inherit', 'inherit'] });
  }
  return folder;
}

/** Runs a benchmark; resolves to the JSON object of its last line. */
async function run(folder, bench) {
  const program = path.join(folder, 'bench', `${bench}.mjs`);
  const child = spawn(process.execPath, [program, ...(options.quick ? ['--quick'] : [])], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(child, 'exit');
  let last = '';
  for await (const line of createInterface({ input: child.stdout })) if (line.trim() !== '') last = line;
  const [code] = await exit;
  try {
    return JSON.parse(last);
  } catch (cause) {
    throw new Error(`${bench} in ${folder} ended with ${code} and no JSON: ${last}`, { cause });
  }
}

/** The numbers of a report by their path. */
function figures(value, at = []) {
  if (typeof value === 'number') return [[at.join('.'), value]];
  if (value === null || typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([key, inner]) => figures(inner, [...at, key]));
}

const WIDTHS = [12, 40, 14, 14];
const commit = git('rev-parse', name);
const folders = { there: checkedOut(commit), here };
execFileSync('npm', ['run', 'build'], { cwd: here, stdio: ['ignore', 'inherit', 'inherit'] });
const ratios = {};
for (const bench of benches) {
  const taken = { there: [], here: [] };
  for (let pair = 0; pair < pairs; pair += 1) {
    const order = pair % 2 ? ['here', 'there'] : ['there', 'here'];
    for (const side of order) {
      const report = await run(folders[side], bench);
      taken[side].push(new Map(figures(report)));
      console.log(`${bench}, pair ${pair + 1}, ${side}: ${JSON.stringify(report)}`);
    }
  }
  ratios[bench] = {};
  for (const figure of taken.here[0].keys()) {
    const values = (side) => taken[side].map((report) => report.get(figure)).filter(Number.isFinite);
    const [there, now] = [values('there'), values('here')];
    if (there.length < pairs || now.length < pairs) continue;
    ratios[bench][figure] = ratio(median(now.map((value, pair) => value / there[pair])));
    console.log(`${row([bench, figure, ratio(median(there)), ratio(median(now))], WIDTHS)}  ${ratios[bench][figure]}`);
  }
}
console.log(`\n${JSON.stringify({ commit, pairs, ratios })}`);
