// The contenders that run the soak's program. Each is a function of the port as bench/support/contenders.mjs has them,
// in an environment that belongs to this run alone.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { freePort } from '../support/processes.mjs';
import certificate from '../../__test__/helpers/certificate.js';
import { readJournal } from './blame.mjs';
import { HANG_MS, SIZES } from './schedule.mjs';
import { ownOf, signal } from './victims.mjs';

/** A leaving worker has so long for what it serves; nothing in the fleet lasts longer than 2 s. */
const GRACE_MS = 5000;

/** Short timeouts, and a budget of restarts that no schedule uses up. Workers hang only with faults. */
const drover = (faults) => ({
  workers: SIZES.first,
  processManagement: {
    gracefulShutdownTimeout: GRACE_MS,
    killTimeout: 1000,
    startupTimeout: 10_000,
    restartDelay: 20,
    maxRestartDelay: 20,
    maxRestarts: 1000,
    ...(faults === 'all' ? { hangTimeout: HANG_MS } : {}),
  },
});

const script = (name) => path.join(import.meta.dirname, 'servers', name);

export const PEERS = ['pm2', 'node-cluster'];

/**
 * A place for one run: { contender, ports, journal, settings, remove() }. `node` is the binary that serves, `peer`
 * one of PEERS or null for drover. `remove` ends what the run has left and tells how many processes that were.
 */
export async function prepare({ node, peer, faults }) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drover-soak-'));
  const journal = path.join(folder, 'journal');
  const daemonHome = path.join(folder, 'pm2');
  fs.writeFileSync(journal, '');

  function remove() {
    if (!fs.existsSync(folder)) return 0;
    // A daemon goes first: it would start others.
    const left = ownOf([...daemonOf(daemonHome), ...readJournal(fs.readFileSync(journal, 'utf8')).workers], journal);
    for (const pid of left) signal(pid, 'SIGKILL');
    fs.rmSync(folder, { recursive: true, force: true });
    return left.length;
  }
  process.once('exit', remove);

  const tls = certificate.tlsEnvironment({ after: (clean) => process.once('exit', clean) });
  const ports = { https: await freePort(), websockets: await freePort() };
  const settings = peer === null ? drover(faults) : { workers: SIZES.first, graceMs: GRACE_MS };
  const environment = {
    ...tls,
    HTTPS_PORT: ports.https,
    WEBSOCKET_PORT: ports.websockets,
    WORKERS: SIZES.first,
    GRACE_MS,
    SOAK_JOURNAL: journal,
    // PM2 finds its Node.js there.
    PATH: `${path.dirname(node)}:${process.env.PATH}`,
    ...(peer === null ? { SOAK_CONFIG: JSON.stringify(settings) } : { PM2_HOME: daemonHome }),
  };
  const contender = (port) => {
    ports.http = port;
    return {
      command: node,
      args: [script(`${peer ?? 'drover'}.js`)],
      env: { ...environment, PORT: port },
      readyLines: 1,
      endsWithStdin: peer === 'pm2',
    };
  };
  return { contender, ports, journal, settings, remove };
}

/** The process id of the PM2 that lives in this folder, if one does. */
function daemonOf(home) {
  const file = path.join(home, 'pm2.pid');
  return fs.existsSync(file) ? [Number(fs.readFileSync(file, 'utf8'))] : [];
}
