// npm run bench:overload [-- --quick] [-- --rounds N]
//
// Three times the load that saturates the workers: what is still answered, how fast, and how fast the rest is refused.
// Two clusters of two workers with the same program (bench/servers/busy.js: 10 to 40 ms of processor time a request),
// one with adaptive admission, one without.
//
// Method. In a round, once with a new connection for each request and once with kept ones:
//
//   unloaded   one client, one request after the other: the p99 is what the other times are compared with, and half of
//              it is `targetDelay`
//   peak       six clients, each with its next request at once, without admission: answers a second
//   overload   Poisson arrivals at three times the peak, on the cluster with admission; a client gives up after a
//              second. Goodput is the answers a second; the first second is not counted. Peak and overload take turns,
//              so that a drift of the machine affects both
//   off        the same on the cluster without admission
//   blocked    the loops of all workers are blocked for two seconds, and 50 new connections a second come: how long a
//              client waits for its refusal
//
// The load generator and the clusters share the processors: what its clients cost at three times the load is missing in
// the goodput. The last line of standard output is JSON: of the two kinds of connections the worse, medians over the
// rounds; `detail` has both. null: there was none. --quick: one short round.

import { createHash } from 'node:crypto';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { Control } from './support/control.mjs';
import { count, median, ratio, row } from './support/figures.mjs';
import { build, load } from './support/loadgen.mjs';
import { startServer } from './support/processes.mjs';

const WORKERS = 2;
const TIMES = 3;
const KINDS = ['new', 'kept'];
const CLIENTS = 900;
const BLOCKED_MS = 2000;
const FULL = { unloaded: 4, peak: 2, overload: 4, turns: 2, off: 3 };
const QUICK = { unloaded: 2, peak: 1.5, overload: 3, turns: 1, off: 2 };

const { values: options } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, rounds: { type: 'string' } },
});
const rounds = Number(options.rounds ?? (options.quick ? 1 : 3));
if (!(Number.isInteger(rounds) && rounds > 0)) throw new Error('--rounds is a whole number from 1 on');
const times = options.quick ? QUICK : FULL;

/** How many of the program's hashes take a millisecond of an idle processor. */
function hashesAMillisecond() {
  const block = Buffer.alloc(16 * 1024, 'x');
  const rates = Array.from({ length: 5 }, () => {
    const began = performance.now();
    let hashes = 0;
    for (; performance.now() - began < 100; hashes += 1) createHash('sha256').update(block).digest();
    return hashes / 100;
  });
  return Math.max(...rates);
}

const hashes = hashesAMillisecond();

function busy(admission) {
  const config = { loadBalancing: { admission }, logging: { level: 'error' }, monitoring: { enabled: false } };
  return (port) => ({
    command: process.execPath,
    args: [path.join(import.meta.dirname, 'servers', 'busy.js'), port, WORKERS, JSON.stringify(config), hashes],
    env: {},
    readyLines: 1,
  });
}

const WIDTHS = [7, 4, 8];
const say = (round, kind, what, figures) => console.log(`${row([`round ${round + 1}`, kind, what], WIDTHS)}  ${figures}`);
const ms = (us) => (us === null ? '-' : `${(us / 1000).toFixed(1)} ms`);
const words = (f) =>
  `${count(f.per_second)} answers/s, p99 ${ms(f.p99_us)}; ${count(f.refused)} refused (p50 ${ms(f.refusal_p50_us)}), ${count(f.given_up)} given up, ${count(f.failed)} failed`;

const closed = (kind, port, connections, seconds) =>
  load(kind === 'new' ? 'new' : 'keepalive', port, { connections, seconds });
const overload = (kind, port, rate, seconds) =>
  load('overload', port, { rate: rate.toFixed(1), seconds, connections: CLIENTS, keep: kind === 'kept' });

async function measureKind(round, kind) {
  const off = await startServer(busy('off'));
  const unloaded = await closed(kind, off.port, 1, times.unloaded);
  say(round, kind, 'unloaded', `${count(unloaded.per_second)} answers/s, p99 ${ms(unloaded.p99_us)}`);
  const on = await startServer(busy({ targetDelay: Math.max(1, Math.round(unloaded.p99_us / 2000)) }));
  const turns = [];
  for (let turn = 0; turn < times.turns; turn += 1) {
    const peak = await closed(kind, off.port, 3 * WORKERS, times.peak);
    say(round, kind, 'peak', `${count(peak.per_second)} answers/s`);
    const found = await overload(kind, on.port, TIMES * peak.per_second, times.overload);
    say(round, kind, 'overload', words(found));
    turns.push({ peak: peak.per_second, found });
  }
  const peak = median(turns.map((turn) => turn.peak));
  const without = await overload(kind, off.port, TIMES * peak, times.off);
  say(round, kind, 'off', words(without));
  await off.stop();
  const refused = kind === 'new' ? await blocked(round, 'blocked', on) : null;
  await on.stop();
  const figures = (found) => ({
    goodput_vs_peak: median(found.map((f) => f.per_second)) / peak,
    admitted_p99_vs_unloaded: found.every((f) => f.p99_us !== null) ? median(found.map((f) => f.p99_us)) / unloaded.p99_us : null,
  });
  return { on: figures(turns.map((turn) => turn.found)), off: figures([without]), refused };
}

/** Blocks all loops of the server; the median time of a refusal, milliseconds. */
async function blocked(round, what, server) {
  await new Control(server).order('block', { ms: BLOCKED_MS });
  const found = await load('overload', server.port, { rate: 50, seconds: 1.2, lead: 0.3, patience: 1000 });
  say(round, 'new', what, words(found));
  return found.refused === 0 ? null : found.refusal_p50_us / 1000;
}

async function measureRound(round) {
  const found = {};
  for (const kind of KINDS) found[kind] = await measureKind(round, kind);
  const off = await startServer(busy('off'));
  const refusedOff = await blocked(round, 'off', off);
  await off.stop();
  return { ...found, refused: found.new.refused, refusedOff };
}

const known = (values) => values.filter((value) => value !== null);
const middle = (values) => (known(values).length === values.length ? ratio(median(values)) : null);

/** `side`: with or without admission. */
function figures(all, side) {
  const of = (kind, key) => middle(all.map((round) => round[kind][side][key]));
  const refused = side === 'on' ? all.map((round) => round.refused) : all.map((round) => round.refusedOff);
  const both = (key) => KINDS.map((kind) => of(kind, key));
  const p99s = both('admitted_p99_vs_unloaded');
  return {
    goodput_vs_peak: Math.min(...both('goodput_vs_peak')),
    admitted_p99_vs_unloaded: p99s.includes(null) ? null : Math.max(...p99s),
    refusal_p50_ms: middle(refused),
    detail: Object.fromEntries(
      KINDS.map((kind) => [
        kind,
        { goodput_vs_peak: of(kind, 'goodput_vs_peak'), admitted_p99_vs_unloaded: of(kind, 'admitted_p99_vs_unloaded') },
      ]),
    ),
  };
}

await build();
const machine = `Linux ${os.release()}, ${os.availableParallelism()} CPUs`;
console.log(`Node ${process.version}, ${machine}, rounds: ${rounds}, ${hashes.toFixed(1)} hashes a millisecond\n`);
const all = [];
for (let round = 0; round < rounds; round += 1) all.push(await measureRound(round));
console.log(`\n${JSON.stringify({ ...figures(all, 'on'), off: figures(all, 'off') })}`);
