// npm run bench:stops [-- --quick] [-- --stops N] [-- --clients N] [-- --contender NAME] [-- --wildcard]
//
// The effect of a stop on clients that open a connection for each request.
//
// Method. A server is started, and clients in the process of this bench ask it, each one request a connection and the
// next when the one before is over. Half a second later it gets SIGTERM. Each client asks until it is refused. So many
// stops of each contender are added up; they take turns, so that all meet the same machine.
//
//   one process    plain http that closes its server at SIGTERM
//   push, direct   drover, held in that mode, with one worker and with four
//   reset          the kernel had accepted the connection, and no whole response came
//   503            drover's own answer: no worker could take the connection any more
//   late           refused a second after it asked: its SYN came while the address was closing
//   stop           from SIGTERM to the end of the process, median; idle: without clients
//
// --wildcard: the servers listen at 0.0.0.0, where handshakes may be under way when the address closes; in a network
// namespace of its own, so that nobody else can come.
//
// The last line of standard output is JSON. --quick: three stops of each; --no-build: the addon as it is.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { askUntilRefused } from './stops/clients.mjs';
import { drover } from './support/contenders.mjs';
import { median, row } from './support/figures.mjs';
import { build } from './support/loadgen.mjs';
import { startServer } from './support/processes.mjs';

const LOAD_MS = 500;

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    'no-build': { type: 'boolean', default: false },
    stops: { type: 'string' },
    clients: { type: 'string', default: '32' },
    contender: { type: 'string' },
    wildcard: { type: 'boolean', default: false },
  },
});
const stops = Number(options.stops ?? (options.quick ? 3 : 12));
const clients = Number(options.clients);
for (const [name, value] of Object.entries({ stops, clients })) {
  if (!(Number.isInteger(value) && value > 0)) throw new Error(`--${name} is a whole number from 1 on`);
}

/** The network namespace that this process was in first, for the one that is in its own. */
const OUTSIDE = 'BENCH_OUTSIDE';
const namespace = fs.readlinkSync('/proc/self/ns/net');
if (options.wildcard && (process.env[OUTSIDE] ?? namespace) === namespace) {
  const inside = ['--map-root-user', '--net', 'sh', '-ec', 'ip link set lo up; exec "$@"', 'sh'];
  const env = { ...process.env, [OUTSIDE]: namespace };
  const { status } = spawnSync('unshare', [...inside, process.execPath, ...process.argv.slice(1)], { stdio: 'inherit', env });
  process.exit(status ?? 1);
}

const HOST = options.wildcard ? '0.0.0.0' : '127.0.0.1';
const closing = path.join(import.meta.dirname, 'servers', 'closing.js');
const held = (dispatch, workers) => (port) => {
  const contender = drover({ loadBalancing: { dispatch }, logging: { level: 'warn' } })(workers)(port);
  return { ...contender, env: { ...contender.env, BENCH_HOST: HOST } };
};
const all = {
  'one process': (port) => ({ command: process.execPath, args: [closing], env: { PORT: port, BENCH_HOST: HOST }, readyLines: 1 }),
  'push, 1 worker': held('push', 1),
  'push, 4 workers': held('push', 4),
  'direct, 1 worker': held('direct', 1),
  'direct, 4 workers': held('direct', 4),
};
const contenders = Object.entries(all).filter(([name]) => !options.contender || name === options.contender);
if (contenders.length === 0) throw new Error(`--contender is one of: ${Object.keys(all).join('; ')}`);

/** One stop under load: what became of the requests, and the milliseconds that the stop took. */
async function stopUnderLoad(contender) {
  const server = await startServer(contender);
  const { counts, done } = askUntilRefused(server.port, clients);
  await new Promise((resolve) => setTimeout(resolve, LOAD_MS));
  const before = counts.answered;
  const ms = await timed(server.stop);
  await done;
  if (before === 0) throw new Error('nothing was answered before the stop');
  return { ...counts, ms };
}

async function stopIdle(contender) {
  const server = await startServer(contender);
  return timed(server.stop);
}

async function timed(stop) {
  const start = performance.now();
  await stop();
  return performance.now() - start;
}

const KINDS = ['answered', 'unavailable', 'reset', 'silent', 'refused', 'refusedLate'];
const WIDTHS = [18, 9, 5, 6, 7, 6, 8, 9];

function sums(rounds) {
  const total = (kind) => rounds.reduce((sum, round) => sum + round.loaded[kind], 0);
  const [answered, unavailable, reset, silent, , late] = KINDS.map(total);
  const stopMs = Math.round(median(rounds.map(({ loaded }) => loaded.ms)));
  const idleMs = Math.round(median(rounds.map(({ idle }) => idle)));
  return { answered, unavailable, reset, silent, late, stop_ms: stopMs, idle_ms: idleMs };
}

if (!options['no-build']) await build();
console.log(`Node ${process.version}, Linux ${os.release()}, ${os.availableParallelism()} CPUs, ${stops} stops, ${clients} clients\n`);
const rounds = new Map(contenders.map(([name]) => [name, []]));
for (let stop = 0; stop < stops; stop += 1) {
  for (const [name, contender] of contenders) {
    rounds.get(name).push({ loaded: await stopUnderLoad(contender), idle: await stopIdle(contender) });
  }
}
console.log(row(['', 'answered', '503', 'reset', 'silent', 'late', 'stop ms', 'idle ms'], WIDTHS));
const figures = {};
for (const [name, measured] of rounds) {
  figures[name] = sums(measured);
  console.log(row([name, ...Object.values(figures[name])], WIDTHS));
}
console.log(`\n${JSON.stringify(figures)}`);
