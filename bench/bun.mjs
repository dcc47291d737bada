// npm run bench:bun [-- --quick] [-- --rounds N]
//
// drover under Bun compared with what Bun has: processes with `reusePort` started by hand, and node:cluster, all with the
// same program (bench/servers/bun/program.js) as a server of Bun.serve and of node:http, two workers, with only
// NODE_ENV=production in their environment. node:http ignores `reusePort`, so by hand its Bun.serve is replaced.
//
// Method. Each figure is measured on a freshly started server after a warm-up, with the load generator on the same machine
// (bench/loadgen). In a round every contender does the same work one after the other, in reverse order every second round;
// ratios are computed within a round, and the median over the rounds is reported. Measured are:
//
//   new connections   64 at once, each closed after one request: answers a second
//   keep-alive        64 connections, 32 on each worker: requests a second
//   roll              every worker is replaced, new ones first, while 300 connections a second come and 16 kept ones are
//                     used: requests that failed, and those without an answer after 3 s
//   queue             one worker is blocked and killed (SIGKILL) while 600 connections a second come: errors and
//                     connections without an answer after 3 s
//
// The last line of standard output is JSON; ratios are drover / by hand, the smaller of both servers'; failures are the sum
// of both. --quick: one short round.

import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import buns from '../__test__/helpers/buns.js';
import { hangAndKill, keepAlive, newConnections } from './dispatch/measure.mjs';
import { roll } from './bun/measure.mjs';
import { count, median, ratio, row } from './support/figures.mjs';
import { build } from './support/loadgen.mjs';

const WORKERS = 2;
const FULL = { warmUp: 1, run: 2 };
const QUICK = { warmUp: 0.5, run: 1 };

const { values: options } = parseArgs({ options: { quick: { type: 'boolean', default: false }, rounds: { type: 'string' } } });
const rounds = Number(options.rounds ?? (options.quick ? 1 : 5));
if (!(Number.isInteger(rounds) && rounds > 0)) throw new Error('--rounds is a whole number from 1 on');
const times = options.quick ? QUICK : FULL;

const bun = await buns.installBun();
const server = (name) => path.join(import.meta.dirname, 'servers', 'bun', name);
const contender = (name, kind, ...more) => (port) => ({
  command: bun,
  args: [server(name), WORKERS, ...more],
  env: { KIND: kind, PORT: port },
  readyLines: 1,
});
const contenders = (kind) => [
  ['by hand', contender('by-hand.js', kind)],
  ['node:cluster', contender('cluster.js', kind)],
  ['drover', contender('drover.js', kind, JSON.stringify({ logging: { level: 'error' } }))],
];

const WIDTHS = [7, 6, 16, 13];
const say = (round, kind, what, who, figures) => console.log(`${row([`round ${round + 1}`, kind, what, who], WIDTHS)}  ${figures}`);

const MEASURES = {
  'new connections': [(one) => newConnections(one, times), (f) => `${count(f.per_second)} conn/s, p99 ${count(f.p99_us)} us, ${f.errors + f.stuck} failed`],
  'keep-alive': [(one) => keepAlive(one, WORKERS, times), (f) => `${count(f.per_second)} req/s, p99 ${count(f.p99_us)} us, ${f.errors + f.stuck} failed`],
  roll: [roll, (f) => `${f.seconds.toFixed(1)} s, ${f.failed} failed, ${f.hung} hung`],
  queue: [(one) => hangAndKill(one, times), (f) => `slowest ${f.maxMs.toFixed(1)} ms; ${f.errors} errors, ${f.stuck} stuck`],
};

/** One round with servers of one kind: figures by measure and contender; null for what a contender cannot. */
async function measureRound(round, kind) {
  const figures = {};
  for (const [what, [measure, words]] of Object.entries(MEASURES)) {
    figures[what] = {};
    const all = contenders(kind);
    for (const [name, one] of round % 2 ? all.toReversed() : all) {
      try {
        figures[what][name] = await measure(one);
        say(round, kind, what, name, words(figures[what][name]));
      } catch (error) {
        if (name === 'drover') throw error;
        figures[what][name] = null;
        say(round, kind, what, name, `not measured: ${error.message.split('\n')[0]}`);
      }
    }
  }
  return figures;
}

await build();
console.log(`Bun ${buns.bunVersion}, ${os.availableParallelism()} processors, ${rounds} rounds`);
const all = { serve: [], http: [] };
for (let round = 0; round < rounds; round += 1) for (const kind of Object.keys(all)) all[kind].push(await measureRound(round, kind));

const ratioOf = (kind, what) => ratio(median(all[kind].map((round) => round[what].drover.per_second / round[what]['by hand'].per_second)));
const sumOf = (name, figure, what = 'roll') =>
  Object.values(all).flat().reduce((sum, round) => sum + (round[what][name]?.[figure] ?? 0), 0);
const peers = (name) => ({ roll_failed: sumOf(name, 'failed'), roll_hung: sumOf(name, 'hung'), queue_lost: sumOf(name, 'errors', 'queue') + sumOf(name, 'stuck', 'queue') });
const kinds = Object.keys(all);
console.log(
  JSON.stringify({
    new_vs_reuseport: Math.min(...kinds.map((kind) => ratioOf(kind, 'new connections'))),
    keepalive_vs_reuseport: Math.min(...kinds.map((kind) => ratioOf(kind, 'keep-alive'))),
    ...peers('drover'),
    hang_max_ms: ratio(Math.max(...Object.values(all).flat().map((round) => round.queue.drover.maxMs))),
    detail: {
      ...Object.fromEntries(kinds.map((kind) => [kind, { new: ratioOf(kind, 'new connections'), keepalive: ratioOf(kind, 'keep-alive') }])),
      by_hand: peers('by hand'),
      node_cluster: peers('node:cluster'),
    },
  }),
);
