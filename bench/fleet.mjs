// npm run bench:fleet [-- --quick] [-- --kills 100]
//
// Four primaries with two workers each on one machine, one fleet over Debian's redis-server.
//
//   broadcast   messages with answers of all workers of the fleet, alternating with round trips to Redis in one worker
//   leader      the leading machine is killed (SIGKILL of its primary), or stopped for longer than a lease (SIGSTOP of
//               its primary, or of all its processes) and continued; beside that some stop gracefully. Every worker
//               notes every 10 ms whether it leads, with the fencing token. All processes have one clock, so two
//               leaders are a lower token whose check began after the check of a higher one had ended, or one token in
//               two machines. A takeover is the time from the signal until another machine uses the resource.
//   outage      Redis is killed for 30 s (--quick: 5 s) while clients of all machines send requests; once it is back,
//               the time until each machine knows all members, gets the answers of all, and has dropped a value that
//               another machine has invalidated.
//
// The last line of standard output is JSON: broadcast_p50_ms_over_redis, leader_kills (and stops), double_leaders,
// takeover_leases (the longest), failed_while_redis_dead, whole_again_s.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const require = createRequire(import.meta.url);
const { build } = require('../scripts/build.js');
const { freePort } = require('../__test__/helpers/http');
const { programOf } = require('../__test__/helpers/redis');

const { values: options } = parseArgs({ options: { quick: { type: 'boolean', default: false }, kills: { type: 'string' } } });
const KILLS = Number(options.kills ?? (options.quick ? 6 : 100));
const DEAD = options.quick ? 5000 : 30_000;
const ROUNDS = options.quick ? 300 : 2000;
const [MACHINES, WORKERS, LEASE] = [4, 2, 5000];

await build();
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drover-bench-fleet-'));
const children = new Set();
/** Processes that are stopped: they are continued before they are ended. */
const stopped = new Set();
process.on('exit', () => {
  stopped.forEach((pid) => signal(pid, 'SIGCONT'));
  children.forEach((child) => child.kill('SIGKILL'));
  fs.rmSync(folder, { recursive: true, force: true });
});
for (const name of ['SIGINT', 'SIGTERM']) process.once(name, () => process.exit(1));

const env = { PATH: process.env.PATH, HOME: process.env.HOME, NODE_ENV: 'production' };
const now = () => Number(process.hrtime.bigint() / 1000n) / 1000;
const median = (all) => all.toSorted((a, b) => a - b)[all.length >> 1];
const largest = (all) => all.reduce((most, one) => Math.max(most, one), 0);

function signal(pid, name) {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

function start(command, args, more = {}) {
  const child = spawn(command, args, { env: { ...env, ...more }, stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

const binary = await programOf({ skip() {} });
if (binary === null) process.exit(1);
const redisPort = await freePort();
async function startRedis() {
  const settings = ['--port', redisPort, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder];
  const child = start(binary, settings.map(String));
  await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => /ready to accept connections/i.test(line) && resolve());
    child.once('exit', () => reject(new Error('redis-server has ended')));
  });
  return child;
}

// The resource that only the leader may use.

/** The uses: number of the machine's run, token, and when the check began and ended. */
const uses = [];
/** Pids of workers by the machine's run. @type {Map<number, number[]>} */
const workersOf = new Map();
const expected = new Map();
let [highest, refused] = [0, 0];
let heard = () => {};
const resource = path.join(folder, 'resource.sock');
const server = net.createServer((socket) => {
  socket.on('error', () => {});
  createInterface({ input: socket }).on('line', (line) => {
    const told = JSON.parse(line);
    if (told.token === undefined) {
      workersOf.set(told.number, [...(workersOf.get(told.number) ?? []), told.pid]);
      if (workersOf.get(told.number).length >= WORKERS) expected.get(told.number)?.();
      return;
    }
    uses.push(told);
    // What its holder should do, and what no delay can get around.
    if (told.token < highest) refused += 1;
    highest = Math.max(highest, told.token);
    heard();
  });
});
server.listen(resource);
await once(server, 'listening');

/** Resolves to the next use that fits. */
const use = (fits) =>
  new Promise((resolve) => {
    heard = () => {
      const last = uses.at(-1);
      if (!fits(last)) return;
      heard = () => {};
      resolve(last);
    };
  });

/** Two leaders at a time, of all uses. */
function doubleLeaders() {
  let found = 0;
  const machineOf = new Map();
  const ended = new Map();
  for (const { number, token, to } of uses) {
    if (machineOf.has(token) && machineOf.get(token) !== number) found += 1;
    machineOf.set(token, number);
    ended.set(token, Math.min(ended.get(token) ?? Infinity, to));
  }
  const tokens = [...ended.keys()].sort((a, b) => b - a);
  for (const { token, from } of uses) if (tokens.some((other) => other > token && ended.get(other) < from)) found += 1;
  return found;
}

let runs = 0;
async function startMachine() {
  const number = (runs += 1);
  const port = await freePort();
  const settings = { port, redis: redisPort, workers: WORKERS, number, resource };
  const ready = new Promise((resolve) => expected.set(number, resolve));
  const child = start(process.execPath, [fileURLToPath(new URL('./fleet/machine.cjs', import.meta.url))], { BENCH_MACHINE: JSON.stringify(settings) });
  createInterface({ input: child.stdout }).on('line', (line) => console.log(`machine ${number}: ${line}`));
  await Promise.race([ready, once(child, 'exit').then(() => Promise.reject(new Error(`machine ${number} has ended`)))]);
  const machine = { number, port, child };
  // Its server accepts before or after its workers have said that they are there.
  for (;;) {
    try {
      await get(machine, '/');
      return machine;
    } catch {
      await wait(20);
    }
  }
}

/** One request; rejects unless the status is 200. */
function get({ port }, place, agent) {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', port, path: place, agent, timeout: 30_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece) => (text += piece));
      response.once('end', () => (response.statusCode === 200 ? resolve(text) : reject(new Error(`${place}: ${response.statusCode}`))));
      response.once('error', reject);
    });
    request.once('timeout', () => request.destroy(new Error(`${place}: no answer`)));
    request.once('error', reject);
  });
}
const ask = async (machine, place) => JSON.parse(await get(machine, place));

/** Resolves when every machine knows all, gets the answers of all, and has dropped what one has invalidated. */
async function whole(machines) {
  const isWhole = async (machine) => {
    const { members, others } = await ask(machine, '/whole');
    return members === machines.length && others === machines.length - 1;
  };
  for (;;) {
    if ((await Promise.all(machines.map(isWhole))).every(Boolean)) break;
    await wait(25);
  }
  const key = `key${now()}`;
  await Promise.all(machines.map((machine) => ask(machine, `/set?key=${key}`)));
  await ask(machines[0], `/invalidate?key=${key}`);
  for (;;) {
    const values = await Promise.all(machines.map((machine) => ask(machine, `/get?key=${key}`)));
    if (values.every((value) => value === null)) return;
    await wait(5);
  }
}

const redis = await startRedis();
let machines = await Promise.all(Array.from({ length: MACHINES }, startMachine));
await whole(machines);
console.log(`${MACHINES} primaries with ${WORKERS} workers each, ${os.cpus().length} CPUs, Node.js ${process.version}, ${binary}`);

// Broadcast.

const answers = MACHINES * WORKERS - 1;
await ask(machines[0], `/rounds?count=100&answers=${answers}`);
const measured = await ask(machines[0], `/rounds?count=${ROUNDS}&answers=${answers}`);
if (measured.failed > 0) throw new Error(`${measured.failed} broadcasts without all ${answers} answers`);
const [broadcast, ping] = [median(measured.broadcasts), median(measured.pings)];
console.log(`broadcast with ${answers} answers: p50 ${broadcast.toFixed(3)} ms; a round trip to Redis: p50 ${ping.toFixed(3)} ms`);

// Leader.

const takeovers = { kill: [], 'stop the primary': [], 'stop all': [], graceful: [] };
/** The machine that leads, once it has used the resource. */
let leading = await use(() => true);
let kills = 0;
for (let round = 0; kills < KILLS; round += 1) {
  const kind = round % 8 === 7 ? 'graceful' : ['kill', 'stop the primary', 'kill', 'stop all'][round % 4];
  const leader = machines.find(({ number }) => number === leading.number);
  const pids = kind === 'stop all' ? [leader.child.pid, ...workersOf.get(leader.number)] : [leader.child.pid];
  const begun = now();
  const next = use(({ number, token }) => number !== leader.number && token > leading.token);
  const isStopped = kind.startsWith('stop');
  if (isStopped) pids.forEach((pid) => stopped.add(pid) && signal(pid, 'SIGSTOP'));
  else leader.child.kill(kind === 'kill' ? 'SIGKILL' : 'SIGTERM');
  leading = await next;
  takeovers[kind].push(leading.to - begun);
  if (kind !== 'graceful') kills += 1;
  if (isStopped) {
    await wait(Math.max(LEASE + 1000 - (now() - begun), 0));
    pids.forEach((pid) => stopped.delete(pid) && signal(pid, 'SIGCONT'));
    // It finds that it leads no longer.
    await wait(300);
  } else {
    if (leader.child.exitCode === null && leader.child.signalCode === null) await once(leader.child, 'exit');
    machines = machines.map((machine) => (machine === leader ? null : machine));
    const anew = await startMachine();
    machines = machines.map((machine) => machine ?? anew);
  }
  if (kills % 10 === 0 && kind !== 'graceful') console.log(`${kills} kills and stops, ${doubleLeaders()} double leaders, ${refused} uses refused, longest takeover ${(largest(Object.values(takeovers).flat()) / LEASE).toFixed(2)} leases`);
}
for (const [kind, all] of Object.entries(takeovers)) {
  if (all.length > 0) console.log(`${kind}: ${all.length} takeovers, p50 ${(median(all) / 1000).toFixed(2)} s, longest ${(largest(all) / 1000).toFixed(2)} s`);
}

// Outage.

await whole(machines);
let [sent, failed, goesOn] = [0, 0, true];
const load = machines.flatMap((machine) =>
  Array.from({ length: 4 }, async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    while (goesOn) {
      sent += 1;
      await get(machine, '/', agent).catch((error) => {
        failed += 1;
        if (failed <= 5) console.log(`failed: ${error.message}`);
      });
      await wait(2);
    }
    agent.destroy();
  }),
);
await wait(1000);
redis.kill('SIGKILL');
await once(redis, 'exit');
await wait(DEAD);
await startRedis();
const back = now();
await whole(machines);
const again = (now() - back) / 1000;
goesOn = false;
await Promise.all(load);
console.log(`Redis was dead for ${DEAD / 1000} s: ${failed} of ${sent} requests failed; whole again after ${again.toFixed(2)} s`);

const doubled = doubleLeaders();
console.log(
  JSON.stringify({
    broadcast_p50_ms_over_redis: Number((broadcast - ping).toFixed(3)),
    leader_kills: kills,
    double_leaders: doubled,
    takeover_leases: Number((largest(Object.values(takeovers).flat()) / LEASE).toFixed(2)),
    failed_while_redis_dead: failed,
    whole_again_s: Number(again.toFixed(2)),
    graceful_takeover_ms: takeovers.graceful.length > 0 ? Math.round(median(takeovers.graceful)) : null,
    refused_by_token: refused,
    requests_while_redis_dead: sent,
  }),
);
process.exit(0);
