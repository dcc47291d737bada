// npm run bench:proxied [-- --quick] [-- --rounds N]
//
// The cost of routing each request on a trusted proxy's connection to the worker of its cookie: the connection returns
// to the primary after each response, and its next request is peeked at.
//
// Method. Three ways of serving the same plain http program with two workers and cookie affinity, interleaved in
// each round, 16 connections busy all the time:
//
//   handed back    `trustProxy` names the client's address; keep-alive connections
//   kept           it does not: a keep-alive connection stays with its worker, whatever its cookies say
//   new            it does not, and the proxy opens a connection for each request, which also finds its worker
//
// Ratios of requests a second, medians over all rounds. The last line of standard output is JSON.

import os from 'node:os';
import { parseArgs } from 'node:util';
import { drover } from './support/contenders.mjs';
import { count, median, ratio, row } from './support/figures.mjs';
import { build, load } from './support/loadgen.mjs';
import { startServer } from './support/processes.mjs';

const WORKERS = 2;
const CONNECTIONS = 16;
const WARM_UP_S = 1;
const RUN_S = 3;

const { values: options } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, rounds: { type: 'string' } },
});
const rounds = Number(options.rounds ?? (options.quick ? 1 : 5));
if (!(Number.isInteger(rounds) && rounds > 0)) throw new Error('--rounds is a whole number from 1 on');

const byCookie = (trustProxy) => drover({ loadBalancing: { sessionAffinity: 'cookie', trustProxy } })(WORKERS);

async function rate(contender, mode) {
  const server = await startServer(contender);
  try {
    await load(mode, server.port, { connections: CONNECTIONS, seconds: WARM_UP_S });
    const report = await load(mode, server.port, { connections: CONNECTIONS, seconds: RUN_S });
    if (report.errors + report.stuck > 0) throw new Error(`${report.errors} errors, ${report.stuck} stuck`);
    return report.per_second;
  } finally {
    await server.stop();
  }
}

await build();
console.log(`Node ${process.version}, Linux ${os.release()}, ${os.availableParallelism()} CPUs, rounds: ${rounds}\n`);
const WIDTHS = [8, 12, 12, 12];
console.log(row(['round', 'handed back', 'kept', 'new'], WIDTHS));
const all = [];
for (let round = 0; round < rounds; round += 1) {
  const handedBack = await rate(byCookie(['loopback']), 'keepalive');
  const kept = await rate(byCookie([]), 'keepalive');
  const fresh = await rate(byCookie([]), 'new');
  console.log(row([round + 1, count(handedBack), count(kept), count(fresh)], WIDTHS));
  all.push({ handedBack, kept, fresh });
}
const middle = (figure) => ratio(median(all.map(figure)));
const summary = {
  handed_back_vs_kept: middle(({ handedBack, kept }) => handedBack / kept),
  handed_back_vs_new: middle(({ handedBack, fresh }) => handedBack / fresh),
};
console.log(`\n${JSON.stringify(summary)}`);
