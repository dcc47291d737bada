// npm run bench:primary [-- --quick] [-- --rounds N] [-- --workers 1,16,64,256]
//
// What the primary itself costs: memory and processor time, by the number of its workers.
//
// Method. A cluster of small workers is started with the defaults (metrics, health checks and the monitoring API on). When it
// has been ready for a while, the primary's resident memory (VmRSS) and its processor time (schedstat, all of its threads)
// are read at both ends of a measured time: first with idle workers, then while a keep-alive connection for each worker
// sends requests, with the same total load for every number of workers, so that the primary's share is comparable. Row "1"
// is the primary itself; the other rows are the growth over row "1" for each further worker. Medians over the rounds, the
// numbers of workers interleaved. A row whose workers would not fit into the free memory is named and left out. The last line of
// standard output is JSON.

import fs from 'node:fs';
import os from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { drover } from './support/contenders.mjs';
import { median, ratio, row } from './support/figures.mjs';
import { build, load } from './support/loadgen.mjs';
import { cpuTime, startServer } from './support/processes.mjs';

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    workers: { type: 'string' },
  },
});
const rounds = Number(options.rounds ?? (options.quick ? 1 : 3));
const counts = (options.workers ?? (options.quick ? '1,16' : '1,16,64,256')).split(',').map(Number);
if (!(Number.isInteger(rounds) && rounds > 0)) throw new Error('--rounds is a whole number from 1 on');
if (counts[0] !== 1 || !counts.every((count) => count >= 1 && count <= 1024)) throw new Error('--workers begins with 1');

/** Seconds: after the start, and of each measurement. */
const SETTLE_S = options.quick ? 2 : 10;
const MEASURED_S = options.quick ? 5 : 20;
/** Bytes that a small worker needs, with room. */
const WORKER_BYTES = 60e6;
/** Milliseconds in which a worker has started, on a busy machine. */
const START_MS = 1500;
/** The load generator tells so many workers apart. */
const MAX_COUNTED = 64;
/** Connections of the load, of all workers together. */
const CONNECTIONS = 16;

function resident(pid) {
  const [, kilobytes] = fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB$/m);
  return Number(kilobytes) * 1024;
}

/** Megabytes at the end, and percent of a core in between, of the primary while `work` runs. */
async function measured({ pid }, work) {
  const [time, since] = [cpuTime(pid), performance.now()];
  await work();
  const cpu_percent = (cpuTime(pid) - time) / 1e6 / (performance.now() - since) * 100;
  return { rss_mb: resident(pid) / 1e6, cpu_percent };
}

async function measure(workers) {
  const contender = drover({ monitoring: { port: 0 }, logging: { level: 'warn' } })(workers);
  const server = await startServer((port) => ({ ...contender(port), timeout: 30_000 + workers * START_MS }));
  try {
    await wait(SETTLE_S * 1000);
    const idle = await measured(server, () => wait(MEASURED_S * 1000));
    const ask = () => load('keepalive', server.port, { connections: Math.max(CONNECTIONS, workers), workers: Math.min(workers, MAX_COUNTED), seconds: MEASURED_S });
    return { idle, busy: await measured(server, ask) };
  } finally {
    await server.stop();
  }
}

await build();
console.log(`Node ${process.version}, Linux ${os.release()}, ${os.availableParallelism()} CPUs, rounds: ${rounds}\n`);
const WIDTHS = [6, 8, 12, 12, 12, 12];
console.log(row(['round', 'workers', 'idle, MB', 'idle, %', 'busy, MB', 'busy, %'], WIDTHS));
const all = new Map();
const left_out = [];
for (let round = 1; round <= rounds; round += 1) {
  for (const workers of counts) {
    if (workers * WORKER_BYTES > os.freemem()) {
      if (!left_out.includes(workers)) left_out.push(workers);
      console.log(`${workers} workers are left out: ${Math.round(os.freemem() / 1e6)} MB are free, about ${Math.round((workers * WORKER_BYTES) / 1e6)} MB are needed`);
      continue;
    }
    const figures = await measure(workers);
    all.set(workers, [...(all.get(workers) ?? []), figures]);
    const { idle, busy } = figures;
    const cells = [idle.rss_mb.toFixed(1), idle.cpu_percent.toFixed(2), busy.rss_mb.toFixed(1), busy.cpu_percent.toFixed(2)];
    console.log(row([round, workers, ...cells], WIDTHS));
  }
}

/** The rows of one kind: the primary with one worker, and the growth for each further one. */
function rowsOf(kind) {
  const middle = (workers, what) => median(all.get(workers).map((figures) => figures[kind][what]));
  const one = { rss_mb: middle(1, 'rss_mb'), cpu_percent: middle(1, 'cpu_percent') };
  const rows = [...all.keys()].map((workers) => {
    if (workers === 1) return ['1', { rss_mb: ratio(one.rss_mb), cpu_percent: ratio(one.cpu_percent) }];
    const growth = (what) => (middle(workers, what) - one[what]) / (workers - 1);
    return [`${workers}`, { rss_mb_per_worker: ratio(growth('rss_mb')), cpu_percent_per_worker: ratio(growth('cpu_percent')) }];
  });
  return Object.fromEntries(rows);
}

console.log(`\n${JSON.stringify({ idle: rowsOf('idle'), busy: rowsOf('busy'), left_out })}`);
