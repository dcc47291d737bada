// npm run soak:cache [-- --kills 300 --seed N --sealed]
//
// Eight workers read and write one cache by Zipf's law, count, and compute values, while workers are killed (SIGKILL),
// stopped for a while (SIGSTOP) and rolled. Beside them a plain process shows what the machine itself delays.
//
// The last line of standard output is JSON: kills, torn (values that are not whole), stale (older than what was
// acknowledged, or than what the process had seen), lost_increments (of those that were acknowledged), double_flights (of
// one key at a time), takeover_ms (from the kill of a worker that computes a value to the begin of the computation in the
// next one, while eight busy workers share the processors; takeover_calm_ms: when they are idle), worst_get_ms,
// worst_control_ms.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Random } from './soak/random.mjs';

const { build } = createRequire(import.meta.url)('../scripts/build.js');
const { values: options } = parseArgs({
  options: { kills: { type: 'string', default: '300' }, seed: { type: 'string' }, sealed: { type: 'boolean', default: false } },
});
const kills = Number(options.kills);
const seed = Number(options.seed ?? Math.floor(Math.random() * 2 ** 31));
const random = new Random(seed);

/** Kills among idle workers. */
const CALM_KILLS = 40;

await build();
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drover-soak-cache-'));
const env = { PATH: process.env.PATH, HOME: process.env.HOME, NODE_ENV: 'production', SOAK_FOLDER: folder, SOAK_SEALED: options.sealed ? '1' : '' };
const program = fileURLToPath(new URL('./cache/soaked.cjs', import.meta.url));
const child = spawn(process.execPath, [program], { env, stdio: ['pipe', 'pipe', 'inherit'] });
// Looks at a Map as the workers look at the cache.
const control = spawn(
  process.execPath,
  [
    '-e',
    `const map = new Map(Array.from({ length: 400 }, (_, at) => ['k' + at, 'v'.repeat(at)]));
     let worst = 0;
     (async () => { for (;;) { for (let at = 0; at < 50; at += 1) { const begun = performance.now(); map.get('k' + Math.floor(400 ** Math.random())); worst = Math.max(worst, performance.now() - begun); } await new Promise(setImmediate); } })();
     setInterval(() => { console.log('WORST ' + worst); worst = 0; }, 500);`,
  ],
  { env, stdio: ['ignore', 'pipe', 'inherit'] },
);
process.on('exit', () => {
  child.kill('SIGKILL');
  control.kill('SIGKILL');
  fs.rmSync(folder, { recursive: true, force: true });
});

const found = { torn: 0, stale: 0, double: 0, failed: 0 };
/** Looks that took long: pid, begin, milliseconds; when each process was stopped. */
const [slow, stops] = [[], []];
/** When each process was killed, by pid: among busy workers, and among idle ones. */
const deaths = { busy: new Map(), calm: new Map() };
let [pids, worstGet, worstControl, counter, stats] = [[], 0, 0, null, null];
let begun;
const ready = new Promise((resolve) => (begun = resolve));

createInterface({ input: control.stdout }).on('line', (line) => {
  if (line.startsWith('WORST ')) worstControl = Math.max(worstControl, Number(line.slice(6)));
});
createInterface({ input: child.stdout }).on('line', (text) => {
  // A worker's line is a record of the log.
  const line = text.startsWith('{') ? String(JSON.parse(text).msg) : text;
  const [, what, rest] = line.match(/^(\w+) (.*)$/) ?? [];
  if (what === 'PIDS') {
    pids = JSON.parse(rest);
    begun();
  } else if (what === 'WORST') worstGet = Math.max(worstGet, Number(rest));
  else if (what === 'SLOW') slow.push(rest.split(' ').map(Number));
  else if (what === 'COUNTER') counter = Number(rest);
  else if (what === 'STATS') stats = JSON.parse(rest);
  else if (what === 'FOUND') {
    const [kind] = JSON.parse(rest);
    found[kind] += 1;
    if (found[kind] <= 5) console.log(rest);
  } else if (/cache channel|ROLL/.test(line)) console.log(line);
});

await ready;
console.log(`seed ${seed}, ${kills} kills, 8 workers${options.sealed ? ', sealed' : ''}`);
let [killed, stopped, rolls] = [0, 0, 0];
function signal(pid, name) {
  try {
    process.kill(pid, name);
    return true;
  } catch {
    return false;
  }
}

/** Kills a process; false: there is none. */
function end(pid, among) {
  const at = performance.timeOrigin + performance.now();
  if (!signal(pid, 'SIGKILL')) return false;
  // A dead process that nobody has waited for can be killed once more.
  if (!among.has(pid)) among.set(pid, at);
  return true;
}

while (killed < kills && child.exitCode === null) {
  await wait(random.whole(20, 300));
  const pid = random.pick(pids);
  if (random.chance(0.2)) {
    const stop = { pid, from: Date.now(), to: Infinity };
    if (signal(pid, 'SIGSTOP')) {
      stopped += 1;
      stops.push(stop);
      setTimeout(() => {
        signal(pid, 'SIGCONT');
        stop.to = Date.now();
      }, random.whole(10, 400));
    }
  } else if (random.chance(0.02)) {
    rolls += 1;
    child.stdin.write('roll\n');
  } else if (end(pid, deaths.busy)) {
    killed += 1;
    if (killed % 50 === 0) console.log(`${killed} kills, ${stopped} stops, ${rolls} rolls; torn ${found.torn}, stale ${found.stale}, double ${found.double}`);
  }
}
await wait(1000);
fs.writeFileSync(path.join(folder, 'calm'), '');
for (let kill = 0; kill < CALM_KILLS && child.exitCode === null; kill += 1) {
  // Longer than a computation, so that the workers have shared them out again.
  await wait(random.whole(700, 1000));
  end(random.pick(pids), deaths.calm);
}
await wait(2000);
child.stdin.write('end\n');
if (child.exitCode === null) await once(child, 'exit');
control.kill();
/** Whether a process was stopped at some time between the two. */
const wasStopped = (pid, from, to) => stops.some((stop) => stop.pid === pid && from <= stop.to + 1 && to >= stop.from - 1);
for (const [pid, begin, took] of slow) {
  if (!wasStopped(pid, begin, begin + took)) worstGet = Math.max(worstGet, took);
}
const counted = fs
  .readdirSync(folder)
  .filter((name) => name.startsWith('counted-'))
  .reduce((sum, name) => sum + fs.statSync(path.join(folder, name)).size, 0);

/** When each computation began and ended, in this order. */
const computations = fs
  .readdirSync(folder)
  .filter((name) => name.startsWith('flights-'))
  .flatMap((name) => {
    const lines = fs.readFileSync(path.join(folder, name), 'utf8').split('\n').filter(Boolean);
    return lines.map((line) => line.split(' ')).map(([what, key, at]) => ({ pid: Number(name.slice('flights-'.length)), what, key, at: Number(at) }));
  })
  .sort((a, b) => a.at - b.at);
const keys = new Set(computations.map(({ key }) => key));

/** Milliseconds from the deaths of processes that computed a value to the begin of the computation in the next ones. */
function takeovers(among) {
  const found = [];
  for (const [pid, at] of among) {
    for (const key of keys) {
      const notes = computations.filter((note) => note.key === key);
      const last = notes.findLast((note) => note.at <= at);
      const next = notes.find((note) => note.at > at && note.what === 'began');
      const isPassedOn = last?.pid === pid && last.what === 'began' && next !== undefined;
      // A stopped process is the next one as well, but begins when it runs again.
      if (isPassedOn && !wasStopped(next.pid, at, next.at)) found.push(next.at - at);
    }
  }
  found.sort((a, b) => a - b);
  const percentile = (part) => Number(found[Math.min(found.length - 1, Math.floor(found.length * part))]?.toFixed(1));
  return { p50: percentile(0.5), p99: percentile(0.99), count: found.length };
}

console.log(`${counted} increments were acknowledged, the counter is ${counter}; ${stats.hits} hits, ${stats.misses} misses, ${stats.evicted} evicted, ${stats.computed} computed`);
console.log(
  JSON.stringify({
    kills: killed,
    stops: stopped,
    rolls,
    torn: found.torn,
    stale: found.stale,
    lost_increments: Math.max(0, counted - counter),
    double_flights: found.double,
    takeover_ms: takeovers(deaths.busy),
    takeover_calm_ms: takeovers(deaths.calm),
    failed: found.failed,
    worst_get_ms: Number(worstGet.toFixed(1)),
    worst_control_ms: Number(worstControl.toFixed(1)),
    seed,
  }),
);
