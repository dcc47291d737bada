// npm run bench:hooks [-- --seconds N]
//
// The cost of drover's per-request hooks in a worker: one worker under keep-alive load serves with and without them,
// alternating every 40 ms within one process, and its processor time per request is measured in each slice. Adjacent
// slices are compared, so that other load of the machine affects both; a bootstrap over these pairs gives the range.
// The client never sleeps meanwhile: waking it is most of what a response costs, and depends on who is faster.
// The control compares adjacent slices of the same kind: it should be 1.
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
