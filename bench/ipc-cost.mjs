// npm run bench:ipc-cost [-- --quick] [-- --rounds N]
//
// The processor time of messages alone (bench/ipc/cost.mjs), which `npm run bench:ipc` measures too. Less than the noise of
// a machine that does other work is seen by `npm run bench:compare -- COMMIT ipc-cost --pairs 9`.
// The last line of standard output is JSON: { cpu_us }.

import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { messageCosts } from './ipc/cost.mjs';

const { build } = createRequire(import.meta.url)('../scripts/build.js');
const { values: options } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, rounds: { type: 'string' } },
});
const rounds = Number(options.rounds ?? (options.quick ? 1 : 3));
if (!(Number.isInteger(rounds) && rounds > 0)) throw new Error('--rounds is a whole number from 1 on');
await build();
const cpu_us = await messageCosts({ rounds, share: options.quick ? 0.3 : 1, say: console.log });
console.log(`\n${JSON.stringify({ cpu_us })}`);
