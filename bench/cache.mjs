// npm run bench:cache [-- --rounds N]
//
// What the shared cache costs in a worker of a cluster of two, with values of 100 bytes and 1,024 keys, beside a Map,
// lru-cache, lmdb, Redis over a unix socket (Debian's redis-server) and a message to the primary, interleaved in one
// process; and its hit ratio beside LRU with caches of 1, 5 and 10 % of the keys (bench/cache/main.rs).
//
//   near   a look at what the process has read before      far   one at what another process has just written
//   set    for the caller        awaited   until all processes see it
//
// The last line of standard output is JSON: near_ns, near_vs_map, far_vs_lmdb, set_ns, awaited_vs_redis (null: Redis
// cannot be installed), hit_ratio, and all medians in nanoseconds.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { build } from './support/loadgen.mjs';

const require = createRequire(import.meta.url);
const { packages } = require('../__test__/helpers/packages');
const { fromDebian, installed, mayInstall } = require('../__test__/helpers/debian');
const { root } = require('../scripts/support/child');
const { requireToolchain } = require('../scripts/support/toolchain');

const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '100' } } });

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drover-bench-cache-'));
const children = [];
process.on('exit', () => {
  children.forEach((child) => child.kill('SIGKILL'));
  fs.rmSync(folder, { recursive: true, force: true });
});

/** A Redis that listens on a unix socket alone; null if there is none. */
async function startRedis() {
  const program = installed('redis-server') ?? (mayInstall() ? await fromDebian('redis-server') : undefined);
  if (program === undefined) {
    console.log('SKIPPED: redis-server is not installed, and may not be');
    return null;
  }
  const socket = path.join(folder, 'redis.sock');
  const redis = spawn(program, ['--port', '0', '--unixsocket', socket, '--save', '', '--appendonly', 'no', '--dir', folder], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(redis);
  let text = '';
  await new Promise((resolve, reject) => {
    redis.stdout.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
      if (/ready to accept connections/i.test(text)) resolve();
    });
    redis.once('exit', () => reject(new Error(`redis-server has ended:\n${text}`)));
  });
  return socket;
}

async function hitRatios() {
  const args = ['bench', '--no-default-features', '--bench', 'cache', '--quiet'];
  const { stdout } = await promisify(execFile)('cargo', args, { cwd: root, env: requireToolchain(), maxBuffer: 16 << 20 });
  const found = {};
  for (const line of stdout.split('\n').filter((text) => text.startsWith('{'))) {
    const { trace, percent, drover, lru } = JSON.parse(line);
    (found[trace] ??= {})[percent] = { drover: Number(drover.toFixed(3)), lru: Number(lru.toFixed(3)) };
  }
  return found;
}

const notSkipped = { skip: (text) => console.log(`SKIPPED: ${text}`) };
await build();
const found = await packages(notSkipped, { 'lru-cache': '11.5.3', lmdb: '3.5.6', redis: '6.3.1' });
if (found === null) process.exit(1);
const redis = await startRedis();
console.log(`Node ${process.version}, Linux ${os.release()}, ${os.availableParallelism()} CPUs, rounds: ${options.rounds}\n`);
const env = { ...process.env, BENCH_PACKAGES: found, BENCH_REDIS: redis ?? '', BENCH_LMDB: path.join(folder, 'lmdb'), BENCH_ROUNDS: options.rounds, NODE_ENV: 'production' };
const program = spawn(process.execPath, [path.join(root, 'bench', 'cache', 'program.cjs')], { env, stdio: ['ignore', 'pipe', 'inherit'] });
children.push(program);
let text = '';
program.stdout.setEncoding('utf8').on('data', (chunk) => (text += chunk));
await once(program, 'exit');
// What is left of them would keep this process.
children.forEach((child) => child.kill('SIGKILL'));
const [, json] = text.match(/FIGURES (\{.*\})/) ?? [];
if (json === undefined) throw new Error(`the program gave no figures:\n${text}`);
const ns = JSON.parse(json);
for (const [name, value] of Object.entries(ns)) console.log(`${name.padEnd(12)} ${value === null ? '-' : `${value.toFixed(0)} ns`}`);
const ratio = (value) => (Number.isFinite(value) ? Number(value.toFixed(3)) : null);
const whole = Object.fromEntries(Object.entries(ns).map(([name, value]) => [name, value === null ? null : Math.round(value)]));
console.log(
  `\n${JSON.stringify({
    near_ns: whole.near,
    near_vs_map: ratio(ns.near / ns.map),
    far_vs_lmdb: ratio(ns.far / ns.lmdb),
    set_ns: whole.set,
    awaited_vs_redis: ns.redis_set === null ? null : ratio(ns.awaited / ns.redis_set),
    hit_ratio: await hitRatios(),
    ns: whole,
  })}`,
);
