// npm run soak:ipc [-- --quick]
//
// At least 10 million requests (1 million with --quick), for at least three minutes, from the primary to four workers
// over encrypted channels, with 1,000 always pending, while a random worker is killed every second. Every promise must
// settle, with its own response or with an error, and the primary's memory must stay constant (`soak_rss_growth`: the
// mean of the last minute over the first's, less 1; what a run has settled in its first seconds is warm-up). The last
// line of standard output is JSON.

import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { soakMessages } from './ipc/soak.mjs';

const { build } = createRequire(import.meta.url)('../scripts/build.js');
const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false } } });
const say = console.log;
await build();
console.log(JSON.stringify(await soakMessages(values.quick ? { messages: 1_000_000, seconds: 0, say } : { messages: 10_000_000, seconds: 180, say })));
