// Measures the cost of per-request hooks: see bench/hooks.mjs.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { median, ratio } from '../support/figures.mjs';
import { load } from '../support/loadgen.mjs';
import { freePort } from '../support/processes.mjs';

const CONNECTIONS = 16;
const WARM_UP = 3;
const RESAMPLES = 2000;

/** Ratios of adjacent slices: with and without hooks, and of the same kind. */
function pairs(turns) {
  const [different, alike] = [[], []];
  for (let at = 0; at + 1 < turns.length; at += 1) {
    const [[isHooked, cost], [isNextHooked, nextCost]] = [turns[at], turns[at + 1]];
    if (isHooked === isNextHooked) alike.push(nextCost / cost);
    else different.push(isHooked ? cost / nextCost : nextCost / cost);
  }
  return { different, alike };
}

/** The median and its 95 % bootstrap interval. */
function estimate(values) {
  const draw = () => values[Math.floor(Math.random() * values.length)];
  const medians = Array.from({ length: RESAMPLES }, () => median(values.map(draw))).sort((a, b) => a - b);
  const at = (part) => ratio(medians[Math.floor(part * (RESAMPLES - 1))]);
  return { median: ratio(median(values)), range: [at(0.025), at(0.975)] };
}

/** The slices of a worker that serves for `seconds` under keep-alive load. */
async function measure(seconds, say) {
  const port = await freePort();
  const program = path.join(import.meta.dirname, 'program.js');
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
    say(`Hooks: ${(await hooks).join(', ')}`);
    const run = (time) => load('keepalive', port, { connections: CONNECTIONS, workers: 1, seconds: time, spin: true });
    await run(WARM_UP);
    isWarm = true;
    const report = await run(seconds);
    say(`${turns.length} turns, ${Math.round(report.per_second).toLocaleString('en')} requests a second\n`);
    return turns;
  } finally {
    server.kill('SIGTERM');
    await exit;
  }
}

/** The cost with hooks against the cost without: { hooks, control, pairs }, the first two each { median, range }. */
export async function hooksCost(seconds, say) {
  const { different, alike } = pairs(await measure(seconds, say));
  return { hooks: estimate(different), control: estimate(alike), pairs: different.length };
}
