// npm run bench:hooks [-- --seconds N]
//
// What drover's hooks on each request cost a worker: one worker under keep-alive load serves with them and without, in
// turns of 40 ms within one process, and its processor time for each request is taken turn by turn. Neighbouring turns
// are compared, so that what the machine does otherwise falls on both; a bootstrap over these pairs gives the range.
// The control compares neighbours of the same kind: it should be 1.
//
// The last line of standard output is JSON: hooks_cpu_ratio (with / without, median of the pairs), its 95 % range, the
// control with its range, and the pairs.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { median, ratio } from './support/figures.mjs';
import { build, load } from './support/loadgen.mjs';
import { freePort } from './support/processes.mjs';

const CONNECTIONS = 16;
const WARM_UP = 3;
const RESAMPLES = 2000;

const { values: options } = parseArgs({ options: { seconds: { type: 'string', default: '120' } } });
const seconds = Number(options.seconds);
if (!(Number.isInteger(seconds) && seconds > 0)) throw new Error('--seconds is a whole number from 1 on');

/** Ratios of neighbours: of turns with and without hooks, and of two alike. */
function pairs(turns) {
  const [different, alike] = [[], []];
  for (let at = 0; at + 1 < turns.length; at += 1) {
    const [[isHooked, cost], [isNextHooked, nextCost]] = [turns[at], turns[at + 1]];
    if (isHooked === isNextHooked) alike.push(nextCost / cost);
    else different.push(isHooked ? cost / nextCost : nextCost / cost);
  }
  return { different, alike };
}

/** The median and the range in which 95 of 100 medians of samples drawn anew lie. */
function estimate(values) {
  const draw = () => values[Math.floor(Math.random() * values.length)];
  const medians = Array.from({ length: RESAMPLES }, () => median(values.map(draw))).sort((a, b) => a - b);
  const at = (part) => ratio(medians[Math.floor(part * (RESAMPLES - 1))]);
  return { median: ratio(median(values)), range: [at(0.025), at(0.975)] };
}

async function measure() {
  const port = await freePort();
  const program = path.join(import.meta.dirname, 'hooks', 'program.js');
  const env = { PATH: process.env.PATH, HOME: process.env.HOME, NODE_ENV: 'production' };
  const server = spawn(process.execPath, [program, String(port)], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const exit = once(server, 'exit');
  try {
    const turns = [];
    let isWarm = false;
    const lines = createInterface({ input: server.stdout });
    const hooks = new Promise((resolve, reject) => {
      lines.on('line', (line) => {
        if (line.startsWith('HOOKS ')) resolve(line.slice('HOOKS '.length).split(' '));
        if (isWarm && line.startsWith('TURNS ')) turns.push(...JSON.parse(line.slice('TURNS '.length)));
      });
      exit.then(([code]) => reject(new Error(`the server ended with ${code}`)));
    });
    console.log(`Hooks: ${(await hooks).join(', ')}`);
    const run = (time) => load('keepalive', port, { connections: CONNECTIONS, workers: 1, seconds: time });
    await run(WARM_UP);
    isWarm = true;
    const report = await run(seconds);
    console.log(`${turns.length} turns, ${Math.round(report.per_second).toLocaleString('en')} requests a second\n`);
    return turns;
  } finally {
    server.kill('SIGTERM');
    await exit;
  }
}

await build();
const { different, alike } = pairs(await measure());
const [hooks, control] = [estimate(different), estimate(alike)];
console.log(
  JSON.stringify({
    hooks_cpu_ratio: hooks.median,
    range: hooks.range,
    control: control.median,
    control_range: control.range,
    pairs: different.length,
  }),
);
