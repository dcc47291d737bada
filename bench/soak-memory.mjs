// npm run soak:memory [-- --seconds N | --quick] [-- --seed N] [-- --limit MB]
//
// Eight workers that leak, under one memory limit: does the kernel's OOM killer come, and do clients notice anything?
//
// Method. A control group with a memory limit is made; where that is not allowed, `maxTotalMemory` is the limit and
// the kernel has none (`control_group` is false). In it a cluster of eight workers runs, each of which leaks 1 to 5 MB/s, by
// the seed. Sixteen clients send requests, half of them on kept connections and half on new ones, without a retry. A request fails
// that is reset, refused or answered with another status; it counts as `failed_in_killed_worker` if its kept connection was
// last answered by a worker that was killed. `oom_kills` is the kernel's own count for the group. Standard output ends
// with a line of JSON.

import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { parseArgs } from 'node:util';
import groups from '../__test__/helpers/control-groups.js';
import { build } from './support/loadgen.mjs';
import { startServer } from './support/processes.mjs';

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    seed: { type: 'string' },
    limit: { type: 'string', default: '1000' },
  },
});
const seconds = Number(options.seconds ?? (options.quick ? 40 : 300));
if (!(seconds > 0 && seconds <= 3600)) throw new Error('--seconds is a number up to 3600');
const seed = Number(options.seed ?? Math.floor(Math.random() * 2 ** 31));
const limit = Number(options.limit) * 1024 * 1024;

const WORKERS = 8;
const CLIENTS = 16;
const TIMEOUT_MS = 10_000;

const script = path.join(import.meta.dirname, 'soak', 'servers', 'leaking.js');
const cleanups = [];
const scope = { after: (clean) => cleanups.push(clean) };

let group;
try {
  group = groups.controlGroup(scope, { memory: limit });
} catch (error) {
  console.log(`No control group can be made (${error.message}): the kernel has no limit`);
}
const config = group ? {} : { resources: { memoryManagement: { maxTotalMemory: limit } } };

const tally = { requests: 0, failed: 0, failed_in_killed_worker: 0, replaced: 0, killed: 0, other_deaths: 0 };
const killed = new Set();
const failures = [];

/** Resolves to the worker that answered; rejects when none did. */
function ask(port, agent) {
  return new Promise((resolve, reject) => {
    const request = http.get({ port, host: '127.0.0.1', agent, timeout: TIMEOUT_MS }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (piece) => (text += piece));
      response.on('end', () => (response.statusCode === 200 ? resolve(Number(text)) : reject(new Error(`status ${response.statusCode}`))));
      response.on('error', reject);
    });
    request.on('timeout', () => request.destroy(new Error('no answer')));
    request.on('error', reject);
  });
}

async function client(port, keeps, until) {
  const agent = new http.Agent({ keepAlive: keeps, maxSockets: 1 });
  let last = null;
  while (performance.now() < until) {
    tally.requests += 1;
    try {
      last = await ask(port, agent);
    } catch (error) {
      failures.push({ worker: keeps ? last : null, why: error.code ?? error.message });
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  agent.destroy();
}

/** What the cluster told. */
function hear(line) {
  if (!line.startsWith('{"type"')) return;
  const event = JSON.parse(line);
  if (event.type === 'worker:limit') {
    console.log(event.message);
    if (event.action === 'replace') tally.replaced += 1;
  } else if (event.signal === 'SIGKILL') {
    killed.add(event.pid);
    tally.killed += 1;
  } else if (event.reason !== 'stopped') tally.other_deaths += 1;
}

const oomKills = () => {
  const [folder] = group.folders;
  const file = ['memory.events', 'memory.oom_control'].map((name) => path.join(folder, name)).find((name) => fs.existsSync(name));
  return Number(fs.readFileSync(file, 'utf8').match(/^oom_kill (\d+)$/m)[1]);
};

await build();
console.log(`seed ${seed}, ${seconds} s, ${WORKERS} workers, ${options.limit} MB\n`);
let oom_kills = null;
try {
  const args = [script];
  const server = await startServer((port) => {
    const own = [...args, port, WORKERS, seed, JSON.stringify(config)];
    if (!group) return { command: process.execPath, args: own, env: {}, readyLines: 1 };
    const { node, execArgv } = group.options;
    return { command: node, args: [...execArgv, ...own], env: {}, readyLines: 1 };
  });
  try {
    let rest = '';
    server.stdout.on('data', (text) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop();
      lines.forEach(hear);
    });
    const until = performance.now() + seconds * 1000;
    await Promise.all(Array.from({ length: CLIENTS }, (_, n) => client(server.port, n % 2 === 0, until)));
    if (group) oom_kills = oomKills();
  } finally {
    await server.stop();
  }
} finally {
  for (const clean of cleanups) await clean();
}
for (const { worker, why } of failures) {
  if (killed.has(worker)) tally.failed_in_killed_worker += 1;
  else {
    tally.failed += 1;
    console.log(`failed: ${why}, worker ${worker ?? 'unknown'}`);
  }
}
console.log(`\n${JSON.stringify({ seed, seconds, control_group: Boolean(group), ...tally, oom_kills })}`);
