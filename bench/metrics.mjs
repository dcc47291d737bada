// npm run bench:metrics [-- --quick] [-- --starts N] [-- --of request-ids]
//
// The cost of metrics, and their accuracy.
//
// Method. Two clusters run side by side, one with `monitoring` on and one with it off, two workers each; 16 keep-alive
// connections send requests to one and then the other, for a second each, in reverse order every second time. The idle
// cluster does not affect the other, and other load of the machine affects both. After some of these pairs both are
// restarted, so that the memory layout of one process does not decide. Measured are requests per second, and the
// processor time of all processes of a cluster per request: ratios on / off within a pair, medians over the pairs with
// their quartiles. Then, with monitoring on: the number of requests reported by the API divided by the number sent, and
// its p99 divided by that of the durations that handlers of 50 to 250 ms have recorded themselves; and the API's
// response times, one request after the other on one connection for 2 s, while the primary's JavaScript is blocked.
// `--of request-ids` compares `logging.requestIds` on and off; with `--of nothing` both have it off, which shows the
// error of the method itself; both measure nothing else. The last line of standard output is JSON.

import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import os from 'node:os';
import { parseArgs } from 'node:util';
import { drover } from './support/contenders.mjs';
import { count, median, ratio, row } from './support/figures.mjs';
import { build, load } from './support/loadgen.mjs';
import { cpuTime, freePort, startServer } from './support/processes.mjs';

const WORKERS = 2;
const CONNECTIONS = 16;
const WARM_UP_S = 2;
const RUN_S = 3;
/** How long the API is measured while the primary is blocked; less than bench/servers/slow.js blocks it. */
const BLOCKED_MS = 2000;
/** Of one pair, each side. */
const SLICE_S = 1;
/** Pairs between two starts: the memory layout of a process matters more than the noise of a pair. */
const PAIRS_A_START = 3;

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    starts: { type: 'string' },
    of: { type: 'string', default: 'metrics' },
  },
});
const starts = Number(options.starts ?? (options.quick ? 3 : 24));
if (!(Number.isInteger(starts) && starts > 0)) throw new Error('--starts is a whole number from 1 on');

/** The configurations that are compared. */
const SIDES = {
  metrics: async () => ({ on: { monitoring: { port: await freePort() } }, off: { monitoring: { enabled: false } } }),
  'request-ids': () => {
    const monitoring = { enabled: false };
    return { on: { monitoring, logging: { requestIds: true } }, off: { monitoring } };
  },
  nothing: () => ({ on: { monitoring: { enabled: false } }, off: { monitoring: { enabled: false } } }),
};
if (!(options.of in SIDES)) throw new Error(`--of is one of ${Object.keys(SIDES).join(', ')}`);

const children = (pid) =>
  fs.readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    const text = fs.readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8');
    return text.split(' ').filter(Boolean).map(Number);
  });

/** Nanoseconds of the whole cluster. */
const clusterTime = (pid) => [pid, ...children(pid)].reduce((sum, one) => sum + cpuTime(one), 0);

const get = async (port, route) => (await fetch(`http://127.0.0.1:${port}${route}`)).json();

const ask = (server, seconds) => load('keepalive', server.port, { connections: CONNECTIONS, workers: WORKERS, seconds });

async function slice(server) {
  const before = clusterTime(server.pid);
  const report = await ask(server, SLICE_S);
  return { rps: report.per_second, cpu: (clusterTime(server.pid) - before) / report.requests };
}

/** Pairs of slices of two clusters that were started for them; `start` says which of them first. */
async function* compare(start) {
  const sides = await SIDES[options.of]();
  const servers = {};
  try {
    for (const side of start % 2 === 0 ? ['on', 'off'] : ['off', 'on']) {
      servers[side] = await startServer(drover(sides[side])(WORKERS));
      await ask(servers[side], WARM_UP_S);
    }
    const { on, off } = servers;
    for (let pair = 0; pair < PAIRS_A_START; pair += 1) {
      if ((start + pair) % 2 === 0) yield { on: await slice(on), off: await slice(off) };
      else {
        const first = await slice(off);
        yield { on: await slice(on), off: first };
      }
    }
  } finally {
    for (const server of Object.values(servers)) await server.stop();
  }
}

/** Requests on new connections, so that the number sent is known exactly. */
async function counts() {
  const monitoring = await freePort();
  const server = await startServer(drover({ monitoring: { port: monitoring } })(WORKERS));
  try {
    const { conns: sent } = await load('new', server.port, { connections: 64, seconds: RUN_S });
    const { totalRequests: told } = await get(monitoring, '/cluster/stats');
    return { sent, told };
  } finally {
    await server.stop();
  }
}

/** Starts a server with slow handlers. */
async function startSlow() {
  const monitoring = await freePort();
  const script = path.join(import.meta.dirname, 'servers', 'slow.js');
  const contender = (port) => ({ command: process.execPath, args: [script, port, monitoring], env: {}, readyLines: 1 });
  return { monitoring, server: await startServer(contender) };
}

/** Milliseconds of the API's answers while the primary's JavaScript is blocked, sorted. */
async function whileBlocked() {
  const { monitoring, server } = await startSlow();
  try {
    await get(monitoring, '/cluster/stats');
    const said = once(server.stdout, 'data');
    process.kill(server.pid, 'SIGUSR2');
    await said;
    const taken = [];
    for (const until = performance.now() + BLOCKED_MS; performance.now() < until; ) {
      const before = performance.now();
      await get(monitoring, '/cluster/stats');
      taken.push(performance.now() - before);
    }
    return taken.sort((a, b) => a - b);
  } finally {
    await server.stop();
  }
}

async function percentiles() {
  const { monitoring, server } = await startSlow();
  try {
    await load('keepalive', server.port, { connections: 64, workers: WORKERS, seconds: options.quick ? 3 : 10 });
    // The last second is sampled.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const { p99 } = await get(monitoring, '/cluster/stats');
    const notes = new Map();
    while (notes.size < WORKERS) {
      const { pid, durations } = await fetch(`http://127.0.0.1:${server.port}/durations`, { headers: { connection: 'close' } }).then((answer) => answer.json());
      notes.set(pid, durations);
    }
    const all = [...notes.values()].flat().sort((a, b) => a - b);
    return { told: p99, noted: all[Math.ceil(all.length * 0.99) - 1] };
  } finally {
    await server.stop();
  }
}

await build();
console.log(`Node ${process.version}, Linux ${os.release()}, ${os.availableParallelism()} CPUs, pairs: ${starts} x ${PAIRS_A_START}\n`);
const WIDTHS = [6, 14, 14, 14, 14];
console.log(row(['start', 'on, req/s', 'off, req/s', 'on, us', 'off, us'], WIDTHS));
const all = [];
for (let start = 1; start <= starts; start += 1) {
  const figures = [];
  for await (const pair of compare(start)) figures.push(pair);
  const middle = (side, what) => median(figures.map((pair) => pair[side][what]));
  const us = (side) => (middle(side, 'cpu') / 1000).toFixed(2);
  console.log(row([start, count(middle('on', 'rps')), count(middle('off', 'rps')), us('on'), us('off')], WIDTHS));
  all.push(...figures.map(({ on, off }) => ({ rps: on.rps / off.rps, cpu: on.cpu / off.cpu })));
}
const quartiles = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  return [sorted[Math.floor((sorted.length - 1) / 4)], sorted[Math.ceil(((sorted.length - 1) * 3) / 4)]].map(ratio);
};
const summary = {
  pairs: all.length,
  rps_ratio: ratio(median(all.map(({ rps }) => rps))),
  rps_quartiles: quartiles(all.map(({ rps }) => rps)),
  cpu_ratio: ratio(median(all.map(({ cpu }) => cpu))),
  cpu_quartiles: quartiles(all.map(({ cpu }) => cpu)),
};
if (options.of === 'metrics') {
  const { sent, told } = await counts();
  const p99 = await percentiles();
  const answers = await whileBlocked();
  const [middle, worst] = [median(answers), answers.at(-1)];
  console.log(`\np99: told ${p99.told.toFixed(1)} ms, noted ${p99.noted.toFixed(1)} ms; requests: told ${count(told)}, sent ${count(sent)}`);
  console.log(`the API while the primary is blocked: median ${middle.toFixed(1)} ms, worst ${worst.toFixed(1)} ms of ${count(answers.length)} answers`);
  summary.count_error = ratio(Math.abs(told - sent) / sent);
  summary.p99_error = ratio(Math.abs(p99.told / p99.noted - 1));
  summary.api_blocked_ms = ratio(middle);
  summary.api_blocked_worst_ms = ratio(worst);
}
console.log(`\n${JSON.stringify(summary)}`);
