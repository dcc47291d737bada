// npm run bench:hooks [-- --seconds N]
//
// What drover's hooks on each request cost a worker: one worker under keep-alive load serves with them and without, in
// turns of 40 ms within one process, and its processor time for each request is taken turn by turn. Neighbouring turns
// are compared, so that what the machine does otherwise falls on both; a bootstrap over these pairs gives the range.
// The control compares neighbours of the same kind: it should be 1.
//
// The last line of standard output is JSON: hooks_cpu_ratio (with / without, median of the pairs), its 95 % range, the
// control with its range, and the pairs.

import { parseArgs } from 'node:util';
import { hooksCost } from './hooks/measure.mjs';
import { build } from './support/loadgen.mjs';

const { values: options } = parseArgs({ options: { seconds: { type: 'string', default: '120' } } });
const seconds = Number(options.seconds);
if (!(Number.isInteger(seconds) && seconds > 0)) throw new Error('--seconds is a whole number from 1 on');

await build();
const { hooks, control, pairs } = await hooksCost(seconds, console.log);
console.log(
  JSON.stringify({
    hooks_cpu_ratio: hooks.median,
    range: hooks.range,
    control: control.median,
    control_range: control.range,
    pairs,
  }),
);
