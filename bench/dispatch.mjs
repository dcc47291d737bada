// npm run bench:dispatch [-- --quick] [-- --rounds N]
//
// Distribution of connections to workers: drover compared with node:cluster (SCHED_RR and SCHED_NONE), SO_REUSEPORT
// without drover (a plain process for each listener) and one bare process, all with the same plain http program
// (bench/app.js), with only NODE_ENV=production in their environment.
//
// Method. Each figure is measured on a freshly started server after a warm-up, with a single-threaded load generator on
// the same machine (bench/loadgen). In a round every contender does the same work one after the other, in reverse order
// every second round; ratios are computed within a round, and the median over the rounds is reported, so that a drift
// of the machine affects all. Measured are:
//
//   new connections   64 at once, each closed after one request, with 1, 2 and 4 workers: answers a second
//   quiet             2,000 connections a second, 2 workers, drover held in push mode: the primary's
//                     processor time for each connection (schedstat of all its threads) and the p50, which
//                     counts from when a connection was due
//   keep-alive        64 connections, 32 on each of 2 workers: requests a second. Where the client shares the
//                     processors with the workers an uneven load is served faster (fewer wake-ups), so a peer
//                     whose kernel placed it unevenly gets what is beyond a worker's share placed anew.
//                     Three times in a round, because the scheduler decides much here
//   fairness          16 long-lived connections on 4 workers, least-connections; then those of one worker are
//                     closed and as many opened. Reported is the most uneven round
//   hang              2 workers, 600 connections a second while one blocks its event loop for 1.5 s: the
//                     slowest of all answers (median and worst of the rounds). Then one blocks and is killed:
//                     errors, and connections without an answer after 3 s (of both, sums of the rounds)
//   hooks             at the end, once: what drover's hooks on each request cost a worker, which the ratio of two
//                     servers is too coarse for (bench/hooks.mjs)
//
// The last line of standard output is JSON; ratios are drover / peer. --quick: one short round without the
// peers that only the table shows.

import os from 'node:os';
import { parseArgs } from 'node:util';
import { bare, drover, nodeCluster, reusePort } from './support/contenders.mjs';
import { count, median, ratio, row } from './support/figures.mjs';
import { build } from './support/loadgen.mjs';
import { hooksCost } from './hooks/measure.mjs';
import { fairness, hangAndKill, keepAlive, newConnections, quietRate } from './dispatch/measure.mjs';

const WORKERS = [1, 2, 4];
const FULL = { warmUp: 1, run: 2, rate: 3, pairs: 3, hooks: 60 };
const QUICK = { warmUp: 0.3, run: 0.7, rate: 1, pairs: 1, hooks: 5 };

const { values: options } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, rounds: { type: 'string' } },
});
const rounds = Number(options.rounds ?? (options.quick ? 1 : 3));
if (!(Number.isInteger(rounds) && rounds > 0)) throw new Error('--rounds is a whole number from 1 on');
const times = options.quick ? QUICK : FULL;
const peersForTheTable = !options.quick;

const roundRobin = nodeCluster('rr');
const byKernel = nodeCluster('none');
const push = drover({ loadBalancing: { dispatch: 'push' } });
const fewest = drover({ loadBalancing: { strategy: 'least-connections' } });

const WIDTHS = [7, 16, 8, 16];
const say = (round, what, workers, who, figures) =>
  console.log(`${row([`round ${round + 1}`, what, workers, who], WIDTHS)}  ${figures}`);

/** Measures each contender of [name, contender] pairs in this round's order; resolves to figures by name. */
async function compare(round, what, workers, contenders, measure, words) {
  const figures = {};
  for (const [name, contender] of round % 2 ? contenders.toReversed() : contenders) {
    figures[name] = await measure(contender);
    say(round, what, workers, name, words(figures[name]));
  }
  return figures;
}

const perSecond = (unit) => (f) =>
  `${count(f.per_second)} ${unit}/s, p50 ${count(f.p50_us)} p99 ${count(f.p99_us)} us, ${f.errors + f.stuck} failed`;

/** One round: every measurement once. */
async function measureRound(round) {
  const fresh = {};
  for (const n of WORKERS) {
    const contenders = [
      ['node:cluster rr', roundRobin(n)],
      ['reuseport', reusePort(n)],
      ['drover', drover()(n)],
      ...(peersForTheTable ? [['node:cluster none', byKernel(n)]] : []),
      ...(n === 1 ? [['bare process', bare()]] : []),
    ];
    const measure = (contender) => newConnections(contender, times);
    fresh[n] = await compare(round, 'new connections', n, contenders, measure, perSecond('conn'));
  }
  const quiet = await compare(
    round,
    'quiet',
    2,
    [['node:cluster rr', roundRobin(2)], ['drover push', push(2)]],
    (contender) => quietRate(contender, times),
    (f) => `primary ${f.primaryUs.toFixed(1)} us/conn, p50 ${count(f.p50_us)} p99 ${count(f.p99_us)} us`,
  );
  const kept = [];
  for (let pair = 0; pair < times.pairs; pair += 1) {
    const contenders = [['reuseport', reusePort(2)], ['drover', drover()(2)]];
    const measure = (contender) => keepAlive(contender, 2, times);
    kept.push(await compare(round, 'keep-alive', 2, contenders, measure, perSecond('req')));
  }
  const peers = [['node:cluster rr', roundRobin], ['reuseport', reusePort]];
  const fair = await compare(
    round,
    'fairness',
    4,
    [...(peersForTheTable ? peers.map(([name, peer]) => [name, peer(4)]) : []), ['drover', fewest(4)]],
    (contender) => fairness(contender, 4),
    (f) => `${f.first.join('/')}, after churn ${f.afterChurn.join('/')}`,
  );
  const hung = await compare(
    round,
    'hang',
    2,
    [...(peersForTheTable ? peers.map(([name, peer]) => [name, peer(2)]) : []), ['drover', drover()(2)]],
    (contender) => hangAndKill(contender, times),
    (f) => `slowest ${f.maxMs.toFixed(1)} ms; ${f.errors} errors, ${f.stuck} stuck`,
  );
  return { fresh, quiet, kept, fair, hung };
}

const spread = (counts) => Math.max(...counts) - Math.min(...counts);
const mostUneven = (rows) => rows.reduce((worst, counts) => (spread(counts) > spread(worst) ? counts : worst));
const sum = (values) => values.reduce((a, b) => a + b, 0);

/** The last line, from the figures of all rounds. */
function summary(all, { hooks, control }) {
  const over = (figure) => ratio(median(all.map(figure)));
  const fresh = (n, peer) => over(({ fresh: f }) => f[n].drover.per_second / f[n][peer].per_second);
  const perWorkers = (peer) => Object.fromEntries(WORKERS.map((n) => [n, fresh(n, peer)]));
  const hung = all.map((round) => round.hung.drover);
  const quiet = (figure) => over(({ quiet: q }) => q['drover push'][figure] / q['node:cluster rr'][figure]);
  return {
    vs_node_cluster: perWorkers('node:cluster rr'),
    vs_reuseport: perWorkers('reuseport'),
    primary_cpu_vs_node_cluster: quiet('primaryUs'),
    p50_vs_node_cluster: quiet('p50_us'),
    keepalive_vs_reuseport: over(({ kept }) =>
      median(kept.map((pair) => pair.drover.per_second / pair.reuseport.per_second)),
    ),
    fairness: mostUneven(all.map((round) => round.fair.drover.first)),
    fairness_after_churn: mostUneven(all.map((round) => round.fair.drover.afterChurn)),
    hang_max_ms: ratio(median(hung.map((f) => f.maxMs))),
    hang_worst_ms: ratio(Math.max(...hung.map((f) => f.maxMs))),
    kill_errors: sum(hung.map((f) => f.errors)),
    kill_stuck: sum(hung.map((f) => f.stuck)),
    bare_process: fresh(1, 'bare process'),
    hooks_cpu_ratio: hooks.median,
    hooks_cpu_range: hooks.range,
    hooks_control: control.median,
  };
}

await build();
const machine = `Linux ${os.release()}, ${os.availableParallelism()} CPUs`;
console.log(`Node ${process.version}, ${machine}, rounds: ${rounds}\n`);
const all = [];
for (let round = 0; round < rounds; round += 1) all.push(await measureRound(round));
console.log(`\n${JSON.stringify(summary(all, await hooksCost(times.hooks, console.log)))}`);
