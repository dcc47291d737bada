// npm run soak [-- --faults rolls|all] [-- --seconds N | --quick] [-- --seed N] [-- --node 20|22|24|26 | --runtime bun] [-- --peer pm2|node-cluster]
//
// Do clients notice anything? A fleet of clients (bench/soak/clients) uses a cluster during a schedule of rolls and
// scalings, and with `--faults all` also of SIGKILL, SIGSTOP and busy loops. The schedule is generated from the seed,
// which is printed: `--seed` repeats it. A peer gets the same clients and commands.
//
// Method. The clients mask no failure: one TCP connection each that only they reopen, no retry, every response compared
// with the one that only its request can have. Each request ends as
//
//   ok           the right answer, once
//   failed       reset, closed or refused without an answer, a cut answer, a status other than 200; a request sent
//                on an idle kept connection that the server then closes is one of these
//   hung         no answer 10 s after it should have come
//   wrong        an answer that is not its own
//   duplicated   answered again, or (POST) executed more than once, which the workers note in a common file
//
// A client that is told `Connection: close` opens a new connection, and sends again what it had pipelined behind
// that answer, as HTTP has it. `connections_reopened` counts every further connection of a plain HTTP/1.1
// keep-alive client, for whatever reason. With faults, a failed request counts as `failed_in_killed_worker` instead
// when the worker that had begun it, or held its connection (as the workers note, and the kernel tells of a victim
// before it dies), was killed by the schedule (SIGKILL, or a hang past the hang timeout) and the failure came with
// that death. `recovered_ms` is from the last fault, which strikes when all before it has settled, until every
// worker is ready. `p99_ratio` (with `--faults rolls`) is measured before by the load generator
// (bench/soak/half-load.mjs); its failures count too, as hung what has no answer after 3 s.
//
// HTTPS and WebSocket sessions, responses and uploads last 2 s at the most. Standard output ends with a line of JSON.

import os from 'node:os';
import { parseArgs } from 'node:util';
import buns from '../__test__/helpers/buns.js';
import nodes from '../__test__/helpers/nodes.js';
import { Control } from './support/control.mjs';
import { ratio, row } from './support/figures.mjs';
import { build } from './support/loadgen.mjs';
import { startServer } from './support/processes.mjs';
import { PEERS, prepare } from './soak/contenders.mjs';
import { Director } from './soak/director.mjs';
import { halfLoad } from './soak/half-load.mjs';
import { account, printFailures, printKinds } from './soak/report.mjs';
import { SIZES, schedule } from './soak/schedule.mjs';
import { startFleet } from './soak/clients/start.mjs';

const FAULTS = ['rolls', 'all'];
const RUNTIMES = ['node', 'bun'];
const SECONDS = 60;
const QUICK_SECONDS = 20;
const MOST_SECONDS = 3600;

function parse() {
  const { values } = parseArgs({
    options: {
      faults: { type: 'string', default: 'rolls' },
      seconds: { type: 'string' },
      quick: { type: 'boolean', default: false },
      seed: { type: 'string' },
      node: { type: 'string' },
      runtime: { type: 'string', default: 'node' },
      peer: { type: 'string' },
    },
  });
  const demand = (holds, words) => {
    if (!holds) throw new Error(words);
  };
  const { faults, runtime, peer = null } = values;
  const seconds = Number(values.seconds ?? (values.quick ? QUICK_SECONDS : SECONDS));
  const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(values.seed);
  const major = values.node === undefined ? null : Number(values.node);
  demand(FAULTS.includes(faults), `--faults is one of ${FAULTS.join(', ')}`);
  demand(peer === null || PEERS.includes(peer), `--peer is one of ${PEERS.join(', ')}`);
  demand(seconds >= 5 && seconds <= MOST_SECONDS, `--seconds is from 5 to ${MOST_SECONDS}`);
  demand(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32, '--seed is a whole number below 2^32');
  demand(RUNTIMES.includes(runtime), `--runtime is one of ${RUNTIMES.join(', ')}`);
  demand(runtime === 'node' || (major === null && peer === null), '--runtime bun runs drover, without --node and --peer');
  demand(major === null || nodes.MAJORS.includes(major), `--node is one of ${nodes.MAJORS.join(', ')}`);
  return { faults, peer, seconds, seed, major, runtime };
}

const WIDTHS = [6, 9, 7, 6, 6, 6, 9, 6, 9, 6];
const COLUMNS = ['second', 'requests', 'failed', 'hung', 'wrong', 'double', 'reopened', 'rolls', 'scalings', 'kills'];

function printProgress(second, { requests, failed, hung, wrong, duplicated, reopened }, { roll, scale, kill }) {
  const cells = [second, requests, failed, hung, wrong, duplicated, reopened, roll, scale, kill];
  console.log(row(cells, WIDTHS));
}

/** Lets the schedule happen to a running contender; resolves to what the clients and the director saw. */
async function soak({ control, ports, events, seconds, seed }) {
  const director = new Director({ control, port: ports.http, size: SIZES.first });
  const fleet = startFleet({ ports: { ...ports }, seed });
  console.log(`\n${row(COLUMNS, WIDTHS)}`);
  const start = performance.now();
  const second = () => Math.round((performance.now() - start) / 1000);
  const table = setInterval(() => fleet.figures && printProgress(second(), fleet.figures, director.done), 5000);
  try {
    await Promise.race([director.run(events, seconds), fleet.failed]);
    await fleet.finish();
  } finally {
    clearInterval(table);
  }
  return { director, fleet };
}

/** What serves: { name, version, path }. */
async function findRuntime(major, runtime) {
  if (runtime === 'bun') return { name: 'Bun', version: buns.bunVersion, path: await buns.installBun() };
  if (major === null) return { name: 'Node', version: process.version, path: process.execPath };
  return { name: 'Node', ...(await nodes.findNode(major)) };
}

const { faults, peer, seconds, seed, major, runtime } = parse();
await build();
const node = await findRuntime(major, runtime);
const place = await prepare({ node: node.path, peer, faults });
const events = schedule({ seed, seconds, faults });
const machine = `Linux ${os.release()}, ${os.availableParallelism()} CPUs`;
console.log(`${peer ?? 'drover'}, ${node.name} ${node.version}, ${machine}; seed ${seed}, faults: ${faults}, ${seconds} s`);
console.log(`settings: ${JSON.stringify(place.settings)}`);

const server = await startServer(place.contender);
try {
  const control = new Control(server);
  const half = faults === 'rolls' ? await halfLoad({ port: server.port, control, say: console.log }) : null;
  const { director, fleet } = await soak({ control, ports: place.ports, events, seconds, seed });
  const { totals, failures, kinds, resent, reopened } = await account({ fleet, director, journal: place.journal, half });
  printKinds({ kinds, reopened, resent });
  printFailures({ failures, director });
  console.log(
    `\n${JSON.stringify({
      seed,
      seconds,
      faults,
      peer,
      runtime,
      ...totals,
      rolls: director.done.roll,
      scalings: director.done.scale,
      kills: director.done.kill,
      connections_reopened: Object.values(reopened).reduce((a, b) => a + b, 0),
      recovered_ms: director.recoveredMs,
      p99_ratio: half && ratio(half.ratio),
    })}`,
  );
} finally {
  await server.stop();
  const left = place.remove();
  if (left > 0) console.error(`${left} processes outlived their primary and were ended.`);
}
