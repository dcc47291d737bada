'use strict';

// The control socket: the monitoring API for this user alone, as long as the primary lives.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { monitoringPort, monitoringUrl } = require('./helpers/monitoring');
const { failureCluster, folder, nobody } = require('./helpers/program');

/** A cluster whose control socket lies below `runtime`, a folder of the user's. */
async function cluster(t, runtime, monitoring = {}, options = {}) {
  const program = failureCluster(t, {
    port: await freePort(),
    config: { monitoring: { port: 0, ...monitoring } },
    env: { XDG_RUNTIME_DIR: runtime },
    ...options,
  });
  await program.until(/the cluster is ready/);
  return { program, socket: path.join(runtime, 'drover', `${program.pid}.sock`) };
}

/** A folder that is the user's alone, as $XDG_RUNTIME_DIR is. */
function runtimeFolder(t) {
  const made = folder(t);
  fs.chmodSync(made, 0o700);
  return made;
}

const mode = (file) => fs.statSync(file).mode & 0o777;
const local = { host: 'localhost' };

test('the control socket answers like the port, is private to the user, is logged, and is removed with its cluster', async (t) => {
  const runtime = runtimeFolder(t);
  const { program, socket } = await cluster(t, runtime);
  const { url, socket: told, msg } = await program.event('monitoring:listening');
  assert.equal(told, socket);
  assert.equal(msg, `Monitoring API on ${url} and ${socket}`);
  assert.equal(mode(socket), 0o600);
  assert.equal(mode(path.dirname(socket)), 0o700);
  for (const route of ['/cluster/health', '/cluster/stats', '/cluster/workers', '/metrics', '/openapi.json', '/', '/nothing']) {
    const answers = await Promise.all([socket, await monitoringPort(program)].map((place) => request(place, { path: route, headers: local })));
    assert.equal(answers[0].status, answers[1].status, route);
    assert.equal(answers[0].headers['content-type'], answers[1].headers['content-type'], route);
  }
  assert.equal((await request(socket, { path: '/cluster/restart', method: 'POST', headers: local })).status, 200);
  for (const headers of [{ host: 'evil.example' }, { host: 'localhost', origin: 'http://evil.example' }])
    assert.equal((await request(socket, { path: '/cluster/stats', headers })).status, 403, JSON.stringify(headers));
  program.signal('SIGTERM');
  assert.deepEqual(await program.exit, { code: 0, signal: null });
  assert.equal(fs.existsSync(socket), false);
});

test('the control socket exists without a port, and requires the token too', async (t) => {
  const { program, socket } = await cluster(t, runtimeFolder(t), { port: false, token: 'a token' });
  assert.equal((await program.event('monitoring:listening')).url, null);
  assert.equal((await request(socket, { path: '/cluster/stats', headers: local })).status, 200);
  const restart = (headers) => request(socket, { path: '/cluster/restart', method: 'POST', headers: { ...local, ...headers } });
  assert.equal((await restart({})).status, 401);
  assert.equal((await restart({ authorization: 'Bearer a token' })).status, 200);
});

test('without monitoring there is no socket', async (t) => {
  const runtime = runtimeFolder(t);
  await cluster(t, runtime, { enabled: false });
  assert.deepEqual(fs.readdirSync(runtime).filter((name) => name !== 'node_modules'), []);
});

test('the control socket of a killed primary is removed by the next one; one in use is kept', async (t) => {
  const runtime = runtimeFolder(t);
  const first = await cluster(t, runtime);
  const second = await cluster(t, runtime);
  first.program.signal('SIGKILL');
  await first.program.exit;
  assert.ok(fs.existsSync(first.socket));
  const third = await cluster(t, runtime);
  assert.deepEqual(fs.readdirSync(path.join(runtime, 'drover')).sort(), [second.socket, third.socket].map((file) => path.basename(file)).sort());
  assert.equal((await request(second.socket, { path: '/cluster/health', headers: local })).status, 200);
});

test('process.exit removes the control socket', async (t) => {
  const runtime = runtimeFolder(t);
  const script = path.join(runtime, 'exits.js');
  fs.writeFileSync(
    script,
    `const { createServer } = require('drover');
     const app = createServer({ app: require('node:http').createServer(), cluster: { enabled: true, config: { workers: 1, monitoring: { port: false } } } });
     app.start(0, '127.0.0.1').then(() => app.isPrimary && process.on('SIGUSR2', () => process.exit(7)) && console.log('it may exit'));`,
  );
  const { run } = require('./helpers/run');
  const program = run(t, script, { env: { XDG_RUNTIME_DIR: runtime } });
  await program.until(/it may exit/);
  const socket = path.join(runtime, 'drover', `${program.pid}.sock`);
  assert.ok(fs.existsSync(socket));
  program.signal('SIGUSR2');
  assert.deepEqual(await program.exit, { code: 7, signal: null });
  assert.equal(fs.existsSync(socket), false);
});

test('a folder readable by others is refused, and the cluster serves without the control socket', async (t) => {
  const runtime = runtimeFolder(t);
  fs.mkdirSync(path.join(runtime, 'drover'));
  fs.chmodSync(path.join(runtime, 'drover'), 0o755);
  const { program } = await cluster(t, runtime);
  await program.until(/no control socket: .*drover is open to other users \(mode 0755\); chmod 700/);
  assert.deepEqual([new URL(await monitoringUrl(program)).hostname, (await program.event('monitoring:listening')).socket], ['127.0.0.1', null]);
  assert.deepEqual(fs.readdirSync(path.join(runtime, 'drover')), []);
});

const asRoot = { skip: process.getuid() === 0 ? false : 'only root can be two users' };

test('a folder of another user is refused', asRoot, async (t) => {
  const runtime = runtimeFolder(t);
  fs.mkdirSync(path.join(runtime, 'drover'), { mode: 0o700 });
  fs.chownSync(path.join(runtime, 'drover'), nobody.uid, nobody.gid);
  const { program } = await cluster(t, runtime);
  await program.until(/no control socket: .*drover belongs to another user \(uid 65534\)/);
});

test('another user can neither find nor open the socket', asRoot, async (t) => {
  const runtime = runtimeFolder(t);
  const { socket } = await cluster(t, runtime);
  const attempt = `require('node:net').connect(${JSON.stringify(socket)}).on('error', (error) => console.log(error.code)).on('connect', () => console.log('connected'))`;
  const asNobody = () => spawnSync(process.execPath, ['-e', attempt], { ...nobody, env: {}, encoding: 'utf8' }).stdout.trim();
  assert.equal(asNobody(), 'EACCES');
  // Were the folders open, the socket's own mode would hold.
  for (const open of [runtime, path.dirname(socket)]) fs.chmodSync(open, 0o755);
  assert.equal(asNobody(), 'EACCES');
  const own = net.connect(socket);
  await once(own, 'connect');
  own.destroy();
});

test('without $XDG_RUNTIME_DIR, or with another user’s, the socket is in the temporary folder', async (t) => {
  const temporary = folder(t);
  const { program } = await cluster(t, '/proc/1', {}, { env: { XDG_RUNTIME_DIR: '/nowhere', TMPDIR: temporary } });
  const { socket } = await program.event('monitoring:listening');
  assert.equal(socket, path.join(temporary, `drover-${process.getuid()}`, `${program.pid}.sock`));
  assert.equal(mode(path.dirname(socket)), 0o700);
});
