'use strict';

// Programs of tests. A test defines its program as a function; the helper writes it to a file in a folder where
// `require('drover')` resolves to this package.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { run } = require('./run');
const { runtime } = require('./runtime');

const root = path.join(__dirname, '..', '..');

/** Creates a folder for one test, accessible to every user; it is removed when the test `t` ends. */
function folder(t) {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), 'drover-test-'));
  t.after(() => fs.rmSync(made, { recursive: true, force: true }));
  fs.chmodSync(made, 0o777);
  fs.mkdirSync(path.join(made, 'node_modules'));
  fs.symlinkSync(root, path.join(made, 'node_modules', 'drover'));
  return made;
}

/** Writes a script; returns its path. `main`: source text, or a function that receives `given` (JSON data). */
function write(t, main, { name = 'server.js', given = {} } = {}) {
  const file = path.join(folder(t), name);
  fs.writeFileSync(file, typeof main === 'string' ? main : `'use strict';\n(${main})(${JSON.stringify(given)});\n`);
  return file;
}

/** Writes a script as `write` does and starts it as `run` does. */
function program(t, main, { name, given, ...options } = {}) {
  return run(t, write(t, main, { name, given }), options);
}

/** Starts the fixture with a route per failure as a cluster, on a port or a path; `config`: a ClusterConfig. */
function failureCluster(t, { port, config, env, ...options }) {
  const script = path.join(root, '__test__', 'fixtures', 'failure-routes.js');
  const place = typeof port === 'string' ? { SOCKET_PATH: port } : { PORT: String(port) };
  const settings = { ...place, CLUSTER_CONFIG: JSON.stringify({ workers: 2, ...config }) };
  return run(t, script, { env: { ...settings, ...env }, ...options });
}

/** Options of `run`: a limit of open descriptors. */
const withDescriptors = (limit) => ({
  node: 'sh',
  execArgv: ['-c', `ulimit -n ${limit} && exec "$0" "$@"`, runtime],
});

/** Options of `run`: in a new network namespace. */
const ownNetwork = (before = 'true') => ({
  node: 'unshare',
  execArgv: ['-Urn', 'sh', '-c', `ip link set lo up && ${before} && exec "$0" "$@"`, runtime],
});

/** Why a test that needs a network namespace must be skipped, or false. */
const noNetworks =
  spawnSync('unshare', ['-Urn', 'ip', 'link', 'set', 'lo', 'up']).status === 0 ? false : 'no network namespaces here';

/** User and group of `nobody`; empty if the tests run unprivileged already. */
const nobody = process.getuid() === 0 ? { uid: 65534, gid: 65534 } : {};

module.exports = { failureCluster, folder, nobody, noNetworks, ownNetwork, program, withDescriptors, write };
