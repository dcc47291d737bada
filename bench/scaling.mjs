// npm run bench:scaling [-- --quick] [-- --rounds N] [-- --shortest] [-- --costs]
//
// How many workers the auto-scaling runs for a load, and how often the load is served too late meanwhile.
//
// Method. bench/scaling (Rust) sends traces of load through one queueing model of a cluster. Six are synthetic and seeded
// (ramp, spike, diurnal, oscillation, noisy, flash crowd). Two are recorded: the requests that a public web server had in
// 1995 (bench/scaling/recorded), on a working day, played in an hour, and around the launch of a space shuttle, in real
// time; their peaks are scaled to 12 and 20 busy workers. One more, `wide`, keeps up to 900 workers busy. Requests come
// at random and take an exponential time of 20 ms in the mean; a worker serves one after the other, is ready 2 s after
// its start and drains when it is removed. The same requests meet drover's autoscaler (the code that the primary runs),
// Kubernetes' HPA as documented with its defaults, Watt's scaler as documented with its defaults, and a fixed number of
// workers for the peak's load. Each runs 2 to 32 workers (`wide`: 1 to 1,024) and begins with those for the first load.
// The target of drover and HPA is a utilisation of 70 %. drover has one configuration for all traces
// (bench/scaling/drover.rs): that target, the latency target as `responseTime`, a step down below 60 % for a minute,
// cooldowns of 10 s; in `wide` a step down removes 32 workers. The rows `defaults` are drover with its default thresholds
// and times. A round has other requests at the same rates. Requests go to the workers in turn; with `--shortest`, to the
// one that is free first.
//
// `above_target_s`: seconds whose 95th percentile is above 500 ms, or that answer nothing while requests wait.
// `worker_s`: the workers' seconds, starts and drains included. `flaps`: how often the number of workers turns from
// growing to falling or the reverse. Medians over the rounds, of `flaps` the most. `evaluation_us_1024`: a sample and an
// evaluation with 1,024 workers; `leak_look_ms_1024`: what the leak detector costs at each of its intervals, a reading and
// a verdict of each of 1,024 workers whose memory grows; `--costs` measures these two alone. The first round, which is the
// same in every run, is written as SVG to docs/scaling (not with `--shortest`). The last line of standard output is JSON.
//
// `real_scale_failed`: requests that fail on a real cluster (handlers of 50 ms, 10 requests in flight per worker) while 40
// in flight make 2 workers 4, and 8 in flight make them 2 again; with `--quick` the latter is by hand.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { chart } from './scaling/chart.mjs';
import { scaleForReal } from './scaling/real.mjs';
import { count, median, row } from './support/figures.mjs';

const require = createRequire(import.meta.url);
const { root } = require('../scripts/support/child');
const { requireToolchain } = require('../scripts/support/toolchain');

const TARGET_MS = 500;
const NAMES = ['drover', 'defaults', 'hpa', 'watt', 'fixed'];

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    shortest: { type: 'boolean', default: false },
    costs: { type: 'boolean', default: false },
  },
});
const rounds = Number(options.rounds ?? (options.quick ? 1 : 3));
if (!(Number.isInteger(rounds) && rounds > 0)) throw new Error('--rounds is a whole number from 1 on');

/** Builds the addon and the simulation; the path of the latter's binary. */
async function build() {
  const addon = spawn(process.execPath, ['scripts/build.js'], { cwd: root, stdio: ['ignore', process.stderr, process.stderr] });
  const [built] = await once(addon, 'exit');
  if (built !== 0) throw new Error(`scripts/build.js ended with ${built}`);
  const args = ['bench', '--locked', '--no-default-features', '--bench', 'scaling', '--no-run', '--message-format=json'];
  const stdio = ['ignore', 'pipe', process.stderr];
  const cargo = spawn('cargo', args, { cwd: root, env: requireToolchain(), stdio });
  const [messages, [code]] = await Promise.all([cargo.stdout.toArray(), once(cargo, 'exit')]);
  if (code !== 0) throw new Error(`cargo ${args.join(' ')} ended with ${code}`);
  const lines = Buffer.concat(messages).toString().trim().split('\n').map((line) => JSON.parse(line));
  return lines.find(({ executable, target }) => executable && target.name === 'scaling').executable;
}

async function simulate() {
  const binary = await build();
  const args = [String(rounds), ...(options.shortest ? ['shortest'] : []), ...(options.costs ? ['costs'] : [])];
  const { stdout } = await promisify(execFile)(binary, args, { maxBuffer: 1 << 30 });
  const lines = stdout.trim().split('\n').map((line) => JSON.parse(line));
  const { evaluation_us: evaluations, leak_look_ms: looks } = lines.at(-1);
  return { runs: lines.filter((line) => line.trace), evaluations, looks };
}

const WIDTHS = [15, 9, 15, 12, 6];
const print = (cells) => console.log(row(cells, WIDTHS));

/** The figures of a trace: for each policy the medians over the rounds. */
function figures(name, runs) {
  const result = {};
  for (const policy of NAMES) {
    const of = (key) => runs.map((run) => run.runs[policy][key]);
    const [late, cost, flaps] = [median(of('above_target_s')), median(of('worker_s')), Math.max(...of('flaps'))];
    const prefix = policy === 'drover' ? '' : `${policy}_`;
    Object.assign(result, { [`${prefix}above_target_s`]: late, [`${prefix}worker_s`]: cost, [`${prefix}flaps`]: flaps });
    print([name, policy, `${count(late)} s late`, `${count(cost)} s`, flaps]);
  }
  return result;
}

console.log(`${os.cpus().length} CPUs, rounds: ${rounds}${options.shortest ? ', shortest queue' : ''}\n`);
print(['trace', 'policy', 'above target', 'worker time', 'turns']);
const { runs, evaluations, looks } = await simulate();
const traces = {};
for (const name of new Set(runs.map((run) => run.trace))) {
  traces[name] = figures(name, runs.filter((run) => run.trace === name));
}
console.log('');
for (const [workers, us] of Object.entries(evaluations)) console.log(`evaluation with ${workers} workers: ${us} us`);
for (const [workers, ms] of Object.entries(looks)) console.log(`look for leaks with ${workers} workers: ${ms} ms`);
const costs = { evaluation_us_1024: evaluations[1024], leak_look_ms_1024: looks[1024] };
if (options.costs) {
  console.log(JSON.stringify(costs));
  process.exit();
}

if (!options.shortest) {
  const folder = path.join(root, 'docs', 'scaling');
  fs.mkdirSync(folder, { recursive: true });
  for (const run of runs.filter(({ round }) => round === 0)) {
    fs.writeFileSync(path.join(folder, `${run.trace}.svg`), chart(run, TARGET_MS));
  }
}
const real = await scaleForReal(options.quick);
console.log(
  `\nreal cluster: 4 workers after ${count(real.up_ms)} ms, 2 after ${count(real.down_ms)} ms; ` +
    `${count(real.answered)} answered, ${real.failed} failed`,
);
console.log(JSON.stringify({ real_scale_failed: real.failed, ...costs, ...traces }));
