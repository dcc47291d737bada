// npm run bench:restart [-- --quick] [-- --rounds N]
//
// How fast workers are replaced, and how evenly connections are rebalanced afterwards.
//
// Method. Each figure is measured on a freshly started cluster of a plain http program, with only NODE_ENV=production
// in its environment, on the same machine. In a round everything is measured once, some of it several times
// alternately; medians over all are reported.
//
//   bare start     the same script as one process: from its spawn to its first answer
//   replacement    one worker, killed with SIGKILL: from then to the first answer of the next, on a connection that
//                  waited meanwhile. Ratio to the bare start measured right before
//   standby        the same with one standby worker
//   roll           four workers, 200 connections a second: a rolling restart's time for each worker
//   rebalanced     64 keep-alive connections that came while one worker was up; then there are four, and each
//                  connection is used for 10 s: how many each worker holds. The most uneven round is reported
//
// The last line of standard output is JSON; null stands for what this version of drover refuses. --quick: one round.

import os from 'node:os';
import { parseArgs } from 'node:util';
import { bareStart, rebalanced, replacement, rollingRestart } from './restart/measure.mjs';
import { median, ratio, row } from './support/figures.mjs';
import { build } from './support/loadgen.mjs';

const TURNS = 5;

const { values: options } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, rounds: { type: 'string' } },
});
const rounds = Number(options.rounds ?? (options.quick ? 1 : 3));
if (!(Number.isInteger(rounds) && rounds > 0)) throw new Error('--rounds is a whole number from 1 on');

const WIDTHS = [7, 12];
const say = (round, what, words) => console.log(`${row([`round ${round + 1}`, what], WIDTHS)}  ${words}`);
const ms = (value) => (value === null ? 'refused' : `${value.toFixed(1)} ms`);

async function measureRound(round) {
  const starts = [];
  for (let turn = 0; turn < TURNS; turn += 1) {
    const figures = { bare: await bareStart(), replaced: await replacement(), standby: await replacement(1) };
    starts.push(figures);
    say(round, 'starts', `bare ${ms(figures.bare)}, replaced ${ms(figures.replaced)}, standby ${ms(figures.standby)}`);
  }
  const roll = await rollingRestart();
  say(round, 'roll', roll ? `${roll.secondsPerWorker.toFixed(3)} s a worker, ${roll.failed} failed` : 'refused');
  const held = await rebalanced();
  say(round, 'rebalanced', held ? `${held.counts.join('/')}, ${held.lost} lost` : 'refused');
  return { starts, roll, held };
}

/** The median of what was not refused, to three digits; null when all was. */
function middle(values) {
  const measured = values.filter((value) => value !== null && value !== undefined);
  return measured.length === 0 ? null : ratio(median(measured));
}

const spread = (counts) => Math.max(...counts) - Math.min(...counts);

function summary(all) {
  const starts = all.flatMap((round) => round.starts);
  const held = all.map((round) => round.held?.counts).filter(Boolean);
  return {
    replace_vs_bare_start: middle(starts.map(({ bare, replaced }) => replaced && replaced / bare)),
    replace_with_standby_ms: middle(starts.map(({ standby }) => standby)),
    roll_seconds_per_worker: middle(all.map(({ roll }) => roll?.secondsPerWorker)),
    rebalanced: held.toSorted((a, b) => spread(b) - spread(a))[0] ?? null,
  };
}

await build();
console.log(`Node ${process.version}, Linux ${os.release()}, ${os.availableParallelism()} CPUs, rounds: ${rounds}\n`);
const all = [];
for (let round = 0; round < rounds; round += 1) all.push(await measureRound(round));
console.log(`\n${JSON.stringify(summary(all))}`);
