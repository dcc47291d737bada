// npm run soak:tickets [-- --reconnects 1000 --rolls 10 --kills 5 --workers 4]
//
// Clients that reconnect over TLS 1.2 and 1.3 while the workers are rolled and killed: every session except each
// client's first must be resumed, whichever worker issued the ticket. A connection that a killed worker had is opened
// again. The last line of standard output is JSON.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';

const require = createRequire(import.meta.url);
const { build } = require('../scripts/build.js');
const { createCertificate } = require('../__test__/helpers/certificate.js');
const { visit } = require('../__test__/helpers/tickets.js');

const CLIENTS_A_VERSION = 4;
const VERSIONS = ['TLSv1.2', 'TLSv1.3'];

const asked = { reconnects: '1000', rolls: '10', kills: '5', workers: '4' };
const options = Object.fromEntries(Object.entries(asked).map(([name, value]) => [name, { type: 'string', default: value }]));
const { values } = parseArgs({ options });
const wanted = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number(value)]));

/** Runs in the cluster's processes. */
function program() {
  const { ClusterManager } = require(process.env.DROVER);
  if (process.env.CLUSTER_WORKER) {
    const { KEY: key, CERT: cert, PORT: port } = process.env;
    require('node:https').createServer({ key, cert }, (_, response) => response.end(`pid ${process.pid}`)).listen(port, '127.0.0.1');
    return;
  }
  // A killed worker is to be there again at once, however often.
  const processManagement = { maxRestarts: 1000, restartDelay: 0 };
  const manager = new ClusterManager({ workers: Number(process.env.WORKERS), processManagement, logging: { level: 'warn' } });
  const say = (verb) => console.log(`${verb} ${manager.getWorkers().map(({ pid }) => pid)}`);
  process.on('SIGUSR1', () => manager.restart().then(() => say('ROLLED')));
  process.on('SIGWINCH', () => say('WORKERS'));
  manager.start().then(() => say('STARTED'));
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

await build();
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drover-tickets-'));
const script = path.join(folder, 'server.js');
fs.writeFileSync(script, `(${program})();\n`);
const port = await freePort();
const { key, cert } = createCertificate();
const env = { ...process.env, NODE_ENV: 'production', DROVER: path.resolve(import.meta.dirname, '..'), KEY: key, CERT: cert, PORT: String(port), WORKERS: values.workers };
const cluster = spawn(process.execPath, [script], { env, stdio: ['ignore', 'pipe', 'inherit'] });
let output = '';
const heard = new Set();
cluster.stdout.setEncoding('utf8').on('data', (text) => {
  output += text;
  heard.forEach((look) => look());
});

/** The next line that begins with `verb`: the pids in it. */
function said(verb) {
  const from = output.length;
  return new Promise((resolve) => {
    const look = () => {
      const [, pids] = output.slice(from).match(new RegExp(`^${verb} ([\\d,]+)\\n`, 'm')) ?? [];
      if (pids === undefined) return;
      heard.delete(look);
      resolve(pids.split(',').map(Number));
    };
    heard.add(look);
  });
}

await said('STARTED');
const started = performance.now();
const result = { reconnects: 0, resumed: 0, full_handshakes: 0, interrupted: 0, rolls: 0, kills: 0 };
let isOver = false;

async function client(version) {
  let session;
  while (!isOver) {
    try {
      const found = await visit(port, { version, session });
      if (session !== undefined) {
        result.reconnects += 1;
        result[found.resumed ? 'resumed' : 'full_handshakes'] += 1;
      }
      ({ session } = found);
    } catch {
      result.interrupted += 1;
    }
  }
}

const clients = VERSIONS.flatMap((version) => Array.from({ length: CLIENTS_A_VERSION }, () => client(version)));
const steps = wanted.rolls + wanted.kills;
for (let step = 0; step < steps; step += 1) {
  // Kills lie between the rolls.
  const kill = Math.floor(((step + 1) * wanted.kills) / steps) > result.kills;
  const before = result.reconnects;
  if (kill) {
    const told = said('WORKERS');
    cluster.kill('SIGWINCH');
    process.kill((await told)[result.kills % wanted.workers], 'SIGKILL');
    result.kills += 1;
  } else {
    const told = said('ROLLED');
    cluster.kill('SIGUSR1');
    await told;
    result.rolls += 1;
  }
  while (result.reconnects < before + wanted.reconnects / steps) await new Promise((resolve) => setTimeout(resolve, 10));
}
while (result.reconnects < wanted.reconnects) await new Promise((resolve) => setTimeout(resolve, 10));
isOver = true;
await Promise.all(clients);
cluster.kill('SIGTERM');
await once(cluster, 'exit');
fs.rmSync(folder, { recursive: true, force: true });
const isFine = result.full_handshakes === 0 && result.reconnects >= wanted.reconnects;
process.exitCode = isFine ? 0 : 1;
console.log(JSON.stringify({ ...result, workers: wanted.workers, versions: VERSIONS, seconds: Math.round((performance.now() - started) / 100) / 10, node: process.version, ok: isFine }));
