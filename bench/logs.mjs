// npm run bench:logs [-- --quick] [-- --rounds N]
//
// Whether the log keeps up, and whether it loses lines.
//
// Method. Two workers write numbered lines of 256 bytes, 50 MB a second together, for 20 seconds, into a log with rotation
// (files of 64 MB, as many as it takes; no rate limit). When both have reported how many lines they wrote, the cluster
// is stopped, and every line of every file is read: each number of each worker must occur exactly once. The rate is the
// workers' output divided by the time of the slower one: a log that does not keep up blocks them. The last line of
// standard output is JSON: the slowest round's rate, and the sums of all rounds' lines.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { count } from './support/figures.mjs';
import { cpuTime, startServer } from './support/processes.mjs';

const WORKERS = 2;
const RATE = 50_000_000;

const { values: options } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, rounds: { type: 'string' } },
});
const rounds = Number(options.rounds ?? 1);
if (!(Number.isInteger(rounds) && rounds > 0)) throw new Error('--rounds is a whole number from 1 on');
const seconds = options.quick ? 5 : 20;

const script = fileURLToPath(new URL('servers/chatty.js', import.meta.url));

async function* linesOf(folder) {
  for (const name of fs.readdirSync(folder)) {
    yield* createInterface({ input: fs.createReadStream(path.join(folder, name)), crlfDelay: Infinity });
  }
}

/** The workers' final reports, read from the current file. */
async function ends(file) {
  const deadline = performance.now() + (seconds + 60) * 1000;
  while (performance.now() < deadline) {
    const found = new Map();
    for (const name of fs.readdirSync(path.dirname(file))) {
      const text = fs.readFileSync(path.join(path.dirname(file), name), 'latin1').slice(-1_000_000);
      for (const [, worker, written, bytes, took] of text.matchAll(/"msg":"(\d+) done (\d+) (\d+) ([\d.]+)"/g)) {
        found.set(worker, { written: Number(written), bytes: Number(bytes), took: Number(took) });
      }
    }
    if (found.size === WORKERS) return found;
    await wait(500);
  }
  throw new Error('the workers did not come to an end');
}

/** How often each number of a worker occurs. */
async function tally(folder, totals) {
  const seen = new Map([...totals].map(([worker, { written }]) => [worker, new Uint8Array(written + 1)]));
  for await (const line of linesOf(folder)) {
    // Torn lines count as missing.
    const match = line.match(/^\{"level":30,.*"msg":"(\d+) (\d+) [a-z ]+"\}$/);
    if (match) seen.get(match[1])[Number(match[2])] += 1;
  }
  let [missing, doubled] = [0, 0];
  for (const counts of seen.values()) {
    for (const times of counts.subarray(1)) {
      if (times === 0) missing += 1;
      else doubled += times - 1;
    }
  }
  return { missing, doubled };
}

async function round() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drover-logs-'));
  const file = path.join(folder, 'drover.log');
  try {
    const config = {
      workers: WORKERS,
      monitoring: { enabled: false },
      logging: { file, logRotation: true, maxLogSize: '64MB', maxLogFiles: 1000, format: 'json' },
    };
    const env = { CLUSTER_CONFIG: JSON.stringify(config), RATE: String(RATE), SECONDS: String(seconds) };
    const server = await startServer(() => ({ command: process.execPath, args: [script], env, readyLines: 1 }));
    const before = cpuTime(server.pid);
    await wait(seconds * 1000);
    const totals = await ends(file);
    const cpu = cpuTime(server.pid) - before;
    await server.stop();
    const { missing, doubled } = await tally(folder, totals);
    const all = [...totals.values()];
    const bytes = all.reduce((sum, one) => sum + one.bytes, 0);
    const took = Math.max(...all.map((one) => one.took));
    const written = all.reduce((sum, one) => sum + one.written, 0);
    const files = fs.readdirSync(folder).length;
    const rate = bytes / took / 1e6;
    console.log(
      `${rate.toFixed(1)} MB/s for ${took.toFixed(1)} s in ${files} files: ${count(written)} lines written, ` +
        `${missing} missing, ${doubled} doubled; the primary used ${((cpu / 1e9 / took) * 100).toFixed(0)} % of a processor`,
    );
    return { rate, written, missing, doubled };
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

const results = [];
for (let index = 0; index < rounds; index += 1) results.push(await round());
const sum = (key) => results.reduce((total, result) => total + result[key], 0);
console.log(
  JSON.stringify({
    mb_per_second: Math.round(Math.min(...results.map(({ rate }) => rate)) * 10) / 10,
    lines_written: sum('written'),
    lines_missing: sum('missing'),
    lines_doubled: sum('doubled'),
  }),
);
