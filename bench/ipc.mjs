// npm run bench:ipc [-- --quick] [-- --rounds N]
//
// How fast messages are: drover, encrypted and plain, beside process.send of Node's child processes ('json' and
// 'advanced'), the same messages in the same loops (bench/ipc/work.js).
//
// Method. In a round every contender runs in fresh processes, one after the other, in the opposite order every second
// round; a ratio is taken within a round, and the median over the rounds is reported. What is measured, with messages
// of 100 B, 10 KB and 1 MB of JSON and with a Buffer of 1 MB:
//
//   one way      process.send in the worker to the 'message' event in the primary, 500 at a time: messages a second
//   round trip   a question of the primary's to a worker that answers with what it was asked, one after the other.
//                Whether the scheduler puts both on one processor decides a factor of three, so the ratio is taken
//                with both on one (taskset), three times in a round; the table has them as they fell
//   broadcast    1 KB to 2, 16 and 64 workers until every answer is back, the middle of 20
//
// Then what drover's messages cost in processor time (bench/ipc/cost.mjs; alone: `npm run bench:ipc-cost`), and
// the soak of `npm run soak:ipc`, in short: workers are killed while a million questions are under way.
// Ratios are drover / process.send 'json'; `rtt_p50_vs_process_send` is of 100 B, encrypted; `broadcast64` too. `cpu_us`:
// microseconds for a message, by side.
// The last line of standard output is JSON. --quick: one short round.

import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { count, median, ratio, row } from './support/figures.mjs';
import { messageCosts } from './ipc/cost.mjs';
import { run } from './ipc/run.mjs';
import { soakMessages } from './ipc/soak.mjs';

const { build } = createRequire(import.meta.url)('../scripts/build.js');
const SIZES = ['100B', '10KB', '1MB', '1MB_buffer'];
const CONTENDERS = {
  'drover, encrypted': { file: 'drover.js', serialization: 'json', encryption: true },
  'drover, plain': { file: 'drover.js', serialization: 'json', encryption: false },
  'process.send json': { file: 'node.js', serialization: 'json' },
  'process.send advanced': { file: 'node.js', serialization: 'advanced' },
};
const SEALED = 'drover, encrypted';
const PEER = 'process.send json';
const PAIRS = 3;

const { values: options } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, rounds: { type: 'string' } },
});
const rounds = Number(options.rounds ?? (options.quick ? 1 : 3));
if (!(Number.isInteger(rounds) && rounds > 0)) throw new Error('--rounds is a whole number from 1 on');
const share = options.quick ? 0.2 : 1;
const usual = { sizes: SIZES, share };
const CROWDS = [2, 16, 64];

const WIDTHS = [8, 12, 22, 14, 12, 12];
const say = (...cells) => console.log(row(cells, WIDTHS));
const inOrder = (round) => (round % 2 ? Object.entries(CONTENDERS).toReversed() : Object.entries(CONTENDERS));

await build();
say('round', 'message', 'who', 'one way /s', 'p50 us', 'p99 us');
const taken = [];
for (let round = 0; round < rounds; round += 1) {
  const figures = {};
  for (const [who, contender] of inOrder(round)) {
    const { sizes } = await run({ ...contender, ...usual, workers: 1 });
    figures[who] = { ...sizes };
    for (const size of SIZES) {
      const { perSecond, p50, p99 } = sizes[size];
      say(round + 1, size, who, count(perSecond), count(p50), count(p99));
    }
  }
  for (let pair = 0; pair < PAIRS; pair += 1) {
    for (const who of pair % 2 ? [PEER, SEALED] : [SEALED, PEER]) {
      const { sizes } = await run({ ...CONTENDERS[who], ...usual, workers: 1, sizes: ['100B'], pinned: true });
      (figures[who].pinned ??= []).push(sizes['100B'].p50);
      say(round + 1, '100B', `${who}, 1 CPU`, '', count(sizes['100B'].p50), count(sizes['100B'].p99));
    }
  }
  for (const workers of CROWDS) {
    for (const [who, contender] of inOrder(round)) {
      const { broadcast } = await run({ ...contender, ...usual, workers });
      figures[who][`to ${workers}`] = broadcast;
      say(round + 1, `1KB to ${workers}`, who, '', `${count(broadcast * 1000)}`, '');
    }
  }
  taken.push(figures);
}

const middle = (value) => ratio(median(taken.map(value)));
const against = (who) =>
  Object.fromEntries(
    SIZES.map((size) => [size, middle((figures) => figures[who][size].perSecond / figures[PEER][size].perSecond)]),
  );
const cpu_us = await messageCosts({ rounds, share, say: console.log });
const soak = await soakMessages({ messages: options.quick ? 100_000 : 1_000_000, seconds: 0, say: console.log });
console.log(
  `\n${JSON.stringify({
    encrypted_vs_process_send: against(SEALED),
    plain_vs_process_send: against('drover, plain'),
    rtt_p50_vs_process_send: middle((figures) => median(figures[SEALED].pinned) / median(figures[PEER].pinned)),
    broadcast64_vs_process_send: middle((figures) => figures[SEALED]['to 64'] / figures[PEER]['to 64']),
    cpu_us,
    ...soak,
  })}`,
);
