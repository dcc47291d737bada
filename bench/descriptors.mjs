// npm run soak:descriptors [-- --ports 300 --sockets 10000 --clients 64 --requests 20000 --descriptors 1024 --workers 2]
//
// A primary with a hard limit of file descriptors, a program with hundreds of ports, workers that bind and close
// thousands of datagram sockets, and clients on all ports meanwhile: every request must be answered. Each worker binds
// its sockets through the primary (`exclusive: false`), one after the other. It ends when all sockets were bound and
// closed and the number of requests was made. The last line of standard output is JSON.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';

const require = createRequire(import.meta.url);
const { build } = require('../scripts/build.js');

const asked = { ports: '300', sockets: '10000', clients: '64', requests: '20000', descriptors: '1024', workers: '2' };
const options = Object.fromEntries(Object.entries(asked).map(([name, value]) => [name, { type: 'string', default: value }]));
const { values } = parseArgs({ options });
const wanted = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number(value)]));

/** Timeout of a request, milliseconds. */
const SILENCE = 30_000;

/** Runs in the cluster's processes. */
function program() {
  const { PORTS, SOCKETS, WORKERS, DROVER } = process.env;
  if (process.env.CLUSTER_WORKER === undefined) {
    const { ClusterManager } = require(DROVER);
    const manager = new ClusterManager({ workers: Number(WORKERS), monitoring: { enabled: false }, logging: { level: 'warn' } });
    manager.start().then(() => console.log('STARTED'));
    process.on('SIGUSR1', () => manager.getWorkers().forEach(({ pid }) => process.kill(pid, 'SIGUSR1')));
    return;
  }
  const ports = [];
  for (let nth = 0; nth < Number(PORTS); nth += 1) {
    const server = require('node:http').createServer((_, response) => response.end('ok'));
    server.listen(0, '127.0.0.1', () => {
      if (ports.push(server.address().port) === Number(PORTS)) console.log(`PORTS ${ports.join(' ')}`);
    });
  }
  const dgram = require('node:dgram');
  const bind = (left, failed) => {
    if (left === 0) return console.log(`BOUND ${failed}`);
    const socket = dgram.createSocket('udp4');
    socket.on('error', () => (socket.close(), bind(left - 1, failed + 1)));
    return socket.bind({ port: 0, address: '127.0.0.1', exclusive: false }, () => socket.close(() => setImmediate(bind, left - 1, failed)));
  };
  process.once('SIGUSR1', () => bind(Number(SOCKETS), 0));
}

await build();
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drover-descriptors-'));
const script = path.join(folder, 'server.js');
fs.writeFileSync(script, `(${program})();\n`);
const env = {
  ...process.env,
  NODE_ENV: 'production',
  DROVER: path.resolve(import.meta.dirname, '..'),
  PORTS: values.ports,
  SOCKETS: values.sockets,
  WORKERS: values.workers,
};
const limited = ['-c', `ulimit -n ${wanted.descriptors} && exec "$0" "$@"`, process.execPath, script];
const cluster = spawn('sh', limited, { env, stdio: ['ignore', 'pipe', 'inherit'] });
let output = '';
let look = () => {};
cluster.stdout.setEncoding('utf8').on('data', (piece) => {
  output += piece;
  look();
});
cluster.once('exit', () => look());

/** Resolves to the matches once there are so many. */
const untilMany = (count, pattern) =>
  new Promise((resolve, reject) => {
    look = () => {
      const found = [...output.matchAll(pattern)];
      if (found.length >= count) resolve(found);
      else if (cluster.exitCode !== null) reject(new Error(`The cluster ended: ${output}`));
    };
    look();
  });

const started = performance.now();
const result = { requests: 0, answered: 0, failed: 0, sockets_failed: 0, primary_descriptors: 0 };
try {
  const lists = await untilMany(wanted.workers, /PORTS ([\d ]+)/g);
  await untilMany(1, /STARTED/g);
  const ports = lists[0][1].split(' ').map(Number);
  let isOver = false;
  const errors = new Map();

  const visit = async (port) => {
    result.requests += 1;
    const request = http.get({ host: '127.0.0.1', port, agent: false, timeout: SILENCE });
    request.once('timeout', () => request.destroy(Object.assign(new Error('silent'), { code: 'SILENT' })));
    try {
      const [response] = await once(request, 'response');
      const body = await text(response);
      if (response.statusCode !== 200 || body !== 'ok') throw Object.assign(new Error(body), { code: response.statusCode });
      result.answered += 1;
    } catch ({ code }) {
      result.failed += 1;
      errors.set(code, (errors.get(code) ?? 0) + 1);
    }
  };
  const client = async (nth) => {
    for (let at = nth; !isOver; at += wanted.clients) await visit(ports[at % ports.length]);
  };
  const clients = Array.from({ length: wanted.clients }, (_, nth) => client(nth));
  const count = setInterval(() => {
    const open = fs.readdirSync(`/proc/${cluster.pid}/fd`).length;
    result.primary_descriptors = Math.max(result.primary_descriptors, open);
  }, 200);
  cluster.kill('SIGUSR1');
  const bound = await untilMany(wanted.workers, /BOUND (\d+)/g);
  result.sockets_failed = bound.reduce((sum, [, failed]) => sum + Number(failed), 0);
  // Requests tell nobody that they were answered.
  while (result.requests < wanted.requests) await new Promise((resolve) => setTimeout(resolve, 20));
  isOver = true;
  await Promise.all(clients);
  clearInterval(count);
  if (errors.size > 0) console.error('Failures by code:', Object.fromEntries(errors));
} finally {
  cluster.kill('SIGTERM');
  if (cluster.exitCode === null) await once(cluster, 'exit');
  fs.rmSync(folder, { recursive: true, force: true });
}
const isFine = result.answered > 0 && result.failed === 0 && result.sockets_failed === 0;
process.exitCode = isFine ? 0 : 1;
const seconds = Math.round((performance.now() - started) / 100) / 10;
console.log(JSON.stringify({ ...wanted, ...result, seconds, node: process.version, ok: isFine }));
