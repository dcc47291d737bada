// npm run soak:ipc [-- --quick]
//
// 10 million questions (1 million with --quick) from the primary to four workers over encrypted channels, 1,000 always
// under way, while a random worker is killed every second. Every promise must settle, with its own answer or with an
// error, and the primary's memory must stay flat (`soak_rss_growth`: the last minute over the first, less 1).
// The last line of standard output is JSON.

import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';
import { soakMessages } from './ipc/soak.mjs';

const { build } = createRequire(import.meta.url)('../scripts/build.js');
const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false } } });
await build();
console.log(JSON.stringify(await soakMessages({ messages: values.quick ? 1_000_000 : 10_000_000, say: console.log })));
