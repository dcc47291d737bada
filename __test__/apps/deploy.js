'use strict';

// Installs a published program as its users would, and starts it: as one process, or as the `exec` of a cluster of two
// workers.

const { execFile } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const { createRequire } = require('node:module');
const path = require('node:path');
const { promisify } = require('node:util');
const { freePort } = require('../helpers/http');
const { findNode } = require('../helpers/nodes');
const { packages } = require('../helpers/packages');
const { folder: folderFor } = require('../helpers/program');
const { run } = require('../helpers/run');

const managed = require.resolve('../fixtures/managed.js');

/** Timeout of a build, in milliseconds. */
const BUILD_PATIENCE = 300_000;

const WORKERS = 2;

const hash = (value) => createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16);

/** The Node.js for the program: the running one, unless the program requires a newer one. */
async function nodeOf({ node = 0 }) {
  const isNewEnough = Number(process.versions.node.split('.')[0]) >= node;
  return isNewEnough ? process.execPath : (await findNode(node)).path;
}

/**
 * Installs a program and builds it once; resolves to { node, folder, file }, `file` being what Node.js runs, or to null
 * if the packages cannot be installed.
 */
async function install(t, program) {
  const { versions, overrides, files = {}, build, main = 'server.js', bin } = program;
  const node = await nodeOf(program);
  const installed = await packages(t, versions, { scripts: false, overrides });
  if (installed === null) return null;
  // Beside the packages, so that Node.js finds them in a parent folder.
  const folder = path.join(installed, 'programs', hash([files, build]));
  const own = path.join(folder, typeof main === 'function' ? main(folder) : main);
  const file = bin === undefined ? own : path.join(installed, 'node_modules', '.bin', bin);
  const done = path.join(folder, '.built');
  if (!fs.existsSync(done)) {
    fs.rmSync(folder, { recursive: true, force: true });
    for (const [name, text] of Object.entries(files)) {
      fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
      fs.writeFileSync(path.join(folder, name), text);
    }
    fs.mkdirSync(folder, { recursive: true });
    for (const [tool, ...args] of build ?? []) {
      const env = { ...process.env, NODE_ENV: 'production', NODE_TEST_CONTEXT: undefined, CI: 'true' };
      const binary = path.join(installed, 'node_modules', '.bin', tool);
      await promisify(execFile)(node, [binary, ...args], { cwd: folder, env, timeout: BUILD_PATIENCE, maxBuffer: Infinity });
    }
    fs.writeFileSync(done, '');
  }
  return { node, folder, file, require: createRequire(path.join(folder, 'x.js')) };
}

/** An address to serve at, a new one for each call. */
const placeFor = async (t) => ({
  host: '127.0.0.1',
  port: await freePort(),
  secondPort: await freePort(),
  socketPath: path.join(folderFor(t), 'app.sock'),
});

/** Starts the installed program. `way`: 'one process' or 'drover'. Resolves to { running, place }. */
async function start(t, program, { node, folder, file, require }, way, services) {
  const at = { ...(await placeFor(t)), folder, require, services };
  const args = program.args?.(at) ?? [];
  const env = { PORT: String(at.port), HOST: at.host, SECOND_PORT: String(at.secondPort), ...program.env?.(at) };
  const options = { node, cwd: folder, env };
  if (way === 'one process') return { running: run(t, file, { ...options, args }), place: at };
  // Programs of several tests run at the same time: no port for monitoring.
  const config = { workers: WORKERS, args, monitoring: { port: false }, ...program.config };
  env.CLUSTER_CONFIG = JSON.stringify(config);
  const running = run(t, managed, { ...options, args: [file] });
  await running.until(/the cluster is ready/);
  return { running, place: at };
}

module.exports = { install, start };
