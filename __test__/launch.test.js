'use strict';

// What a worker gets from its primary, anew for each start: the environment, the folder, the script, a port for its
// inspector. Where node:cluster does the same it is asked too.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { folder, noNetworks, ownNetwork, program, write } = require('./helpers/program');
const { run } = require('./helpers/run');

/** A program whose workers say what they see; the primary does what a line on its control port says. */
function told({ port, control, runner, config = {}, shown }) {
  const cluster = require('node:cluster');
  const { ClusterManager } = require('drover');
  const nodeCluster = runner === 'node:cluster';
  if (nodeCluster ? cluster.isWorker : process.env.CLUSTER_WORKER) {
    const seen = Object.fromEntries(shown.map((name) => [name, process.env[name] ?? null]));
    const body = JSON.stringify({ pid: process.pid, cwd: process.cwd(), script: process.argv[1], ...seen });
    require('node:http')
      .createServer((_, response) => response.end(body))
      .listen(port, '127.0.0.1', () => console.log('SERVES'));
    return;
  }
  const manager = nodeCluster ? null : new ClusterManager({ workers: 1, ...config });
  const acts = {
    set: (name, value) => void (process.env[name] = value),
    unset: (name) => void delete process.env[name],
    chdir: (to) => process.chdir(to),
    start: () => (nodeCluster ? once(cluster.fork(), 'listening') : manager.start()),
    roll: async () => {
      if (!nodeCluster) return manager.restart();
      const [old] = Object.values(cluster.workers);
      await once(cluster.fork(), 'listening');
      old.kill();
      await once(old, 'exit');
    },
    block: (ms) => {
      console.log('BLOCKED');
      const end = Date.now() + Number(ms);
      while (Date.now() < end);
      console.log('FREE');
    },
  };
  const { once } = require('node:events');
  const server = require('node:net').createServer((socket) => {
    require('node:readline')
      .createInterface(socket)
      .on('line', async (line) => {
        const [verb, ...rest] = line.split(' ');
        const answer = await Promise.resolve()
          .then(() => acts[verb](...rest))
          .then(() => 'ok', (error) => `${error.code} ${error.message}`);
        socket.write(`${answer.replaceAll('\n', ' ')}\n`);
      });
  });
  server.listen(control, '127.0.0.1', () => console.log('CONTROLLED'));
}

/** Starts `told`; its verbs are methods of what is resolved to, `see()` asks a worker. */
async function controlled(t, { runner = 'drover', config, shown = ['SECRET'], script, ...options }) {
  const given = { port: await freePort(), control: await freePort(), runner, config, shown };
  const started = script
    ? run(t, script, { ...options, env: { GIVEN: JSON.stringify(given), ...options.env } })
    : program(t, told, { given, ...options });
  await started.until(/CONTROLLED/);
  const socket = net.connect(given.control, '127.0.0.1').setEncoding('utf8');
  t.after(() => socket.destroy());
  const order = async (...words) => {
    socket.write(`${words.join(' ')}\n`);
    const [answer] = await once(socket, 'data');
    return answer.trim();
  };
  const act = async (...words) => assert.equal(await order(...words), 'ok', words.join(' '));
  return { started, socket, order, act, see: async () => (await request(given.port)).json() };
}

for (const runner of ['node:cluster', 'drover']) {
  test(`${runner}: a worker gets the environment of the moment of its start`, async (t) => {
    const { act, see } = await controlled(t, { runner, env: { GOES: '1' }, shown: ['SECRET', 'GOES'] });
    await act('set', 'SECRET', 'of-a-vault');
    await act('start');
    assert.deepEqual({ ...(await see()), pid: 0, cwd: '', script: '' }, { pid: 0, cwd: '', script: '', SECRET: 'of-a-vault', GOES: '1' });
    await act('set', 'SECRET', 'rotated');
    await act('unset', 'GOES');
    await act('roll');
    const { SECRET, GOES } = await see();
    assert.deepEqual([SECRET, GOES], ['rotated', null]);
  });
}

test('the replacement of a dead worker gets the current environment', async (t) => {
  const { act, see, started } = await controlled(t, {});
  await act('start');
  const { pid } = await see();
  await act('set', 'SECRET', 'later');
  process.kill(pid, 'SIGKILL');
  await started.untilMany(2, /SERVES/);
  assert.equal((await see()).SECRET, 'later');
});

test('a blocked primary does not delay a replacement, which gets the last known environment', async (t) => {
  const { act, order, see, started } = await controlled(t, {});
  await act('set', 'SECRET', 'known');
  await act('start');
  const { pid } = await see();
  const free = order('block', 5000);
  await started.until(/BLOCKED/);
  process.kill(pid, 'SIGKILL');
  await started.untilMany(2, /SERVES/);
  assert.equal((await see()).SECRET, 'known');
  assert.doesNotMatch(started.output, /FREE/, 'it was blocked all the while');
  assert.equal(await free, 'ok');
});

test('variables of the configuration take precedence: a text, an empty text, or unset', async (t) => {
  const shown = ['SECRET', 'EMPTY', 'NODE_APP_INSTANCE', 'WORKER_ID', 'CLUSTER_WORKER'];
  const config = { env: { SECRET: 'own', EMPTY: '', NODE_APP_INSTANCE: null, WORKER_ID: 'seven' } };
  const { act, see } = await controlled(t, { config, shown, env: { SECRET: 'inherited', EMPTY: '1', NODE_APP_INSTANCE: '3' } });
  await act('start');
  await act('set', 'SECRET', 'later');
  await act('roll');
  const seen = await see();
  assert.deepEqual(shown.map((name) => seen[name]), ['own', '', null, 'seven', 'true']);
});

test('variables by which drover identifies workers are refused', async (t) => {
  const started = program(t, () => {
    const { ClusterManager } = require('drover');
    for (const env of [{ CLUSTER_WORKER: null }, { DROVER_CHANNEL: '1' }, { A: undefined }]) {
      try {
        new ClusterManager({ env });
        console.log('TAKEN');
      } catch (error) {
        console.log(`${error.code} ${error.message}`);
      }
    }
  });
  await started.exit;
  assert.match(started.stdout, /CLUSTER_WORKER is drover's own in a worker[^]*DROVER_CHANNEL is drover's own in a worker[^]*TAKEN/);
});

test('the config package in strict mode starts without an instance', async (t) => {
  const script = write(t, () => {
    const { ClusterManager } = require('drover');
    if (!process.env.CLUSTER_WORKER) {
      return new ClusterManager({ workers: 1, env: { NODE_APP_INSTANCE: null } }).start().then(() => console.log('STARTED'));
    }
    const { name } = require('config').util.toObject();
    return require('node:http').createServer().listen(0, '127.0.0.1', () => console.log(`CONFIGURED ${name}`));
  });
  const place = path.dirname(script);
  fs.symlinkSync(path.dirname(require.resolve('config/package.json')), path.join(place, 'node_modules', 'config'));
  fs.mkdirSync(path.join(place, 'config'));
  fs.writeFileSync(path.join(place, 'config', 'production.json'), '{"name":"strict"}');
  const started = run(t, script, { cwd: place, env: { NODE_CONFIG_STRICT_MODE: 'true', NODE_CONFIG_DIR: path.join(place, 'config') } });
  await started.until(/CONFIGURED strict/);
  await started.until(/STARTED/);
});

for (const [what, options, base, urls] of [
  ['NODE_OPTIONS', { env: { NODE_OPTIONS: '--no-warnings --inspect=127.0.0.1:9400' } }, 9400, [9401, 9402]],
  ['an argument and a port in NODE_OPTIONS', { args: ['--inspect'], env: { NODE_OPTIONS: '"--inspect-port=127.0.0.1:9500"' } }, 9500, [9501, 9502]],
  ['an argument and its value apart', { args: ['--inspect-port', '127.0.0.1:9600', '--inspect'] }, 9600, [9601, 9602]],
  ['an address in brackets', { args: ['--inspect=[::1]'] }, 9229, [9230, 9231]],
]) {
  test(`an inspector by ${what} has a port of its own in each process`, { skip: noNetworks }, async (t) => {
    const { node, execArgv } = ownNetwork();
    const inspected = () => {
      const { ClusterManager } = require('drover');
      const { port } = new URL(require('node:inspector').url());
      if (!process.env.CLUSTER_WORKER) {
        console.log(`PRIMARY AT ${port}`);
        return new ClusterManager({ workers: 2 }).start();
      }
      return require('node:http').createServer().listen(0, '127.0.0.1', () => console.log(`WORKER AT ${port}`));
    };
    const started = program(t, inspected, { node, execArgv: [...execArgv, ...(options.args ?? [])], env: options.env });
    assert.equal(Number((await started.until(/PRIMARY AT (\d+)/))[1]), base);
    const found = (await started.untilMany(2, /WORKER AT (\d+)/)).map(([, port]) => Number(port));
    assert.deepEqual(found.toSorted(), urls);
  });
}

test('a later chdir of the primary does not affect workers', async (t) => {
  const [home, elsewhere] = [folder(t), folder(t)];
  const { act, see } = await controlled(t, { cwd: home, env: { PWD: home } });
  await act('chdir', elsewhere);
  await act('start');
  assert.equal((await see()).cwd, fs.realpathSync(home));
  await act('chdir', '/');
  await act('roll');
  assert.equal((await see()).cwd, fs.realpathSync(home));
});

test('cwd of the configuration is relative to the folder in which the cluster was created', async (t) => {
  const home = folder(t);
  fs.mkdirSync(path.join(home, 'inner'));
  const { act, see } = await controlled(t, { cwd: home, env: { PWD: '/' }, config: { cwd: 'inner' } });
  await act('chdir', '/');
  await act('start');
  assert.equal((await see()).cwd, path.join(fs.realpathSync(home), 'inner'));
});

/** A place with two releases of one program, and a link to the first. */
function deployed(t) {
  const place = fs.realpathSync(folder(t));
  for (const release of ['1', '2']) {
    fs.mkdirSync(path.join(place, 'releases', release), { recursive: true });
    const source = `process.env.RELEASE = '${release}';\n(${told})(JSON.parse(process.env.GIVEN));\n`;
    fs.writeFileSync(path.join(place, 'releases', release, 'server.js'), source);
  }
  const current = path.join(place, 'current');
  fs.symlinkSync('releases/1', current);
  const move = () => {
    fs.symlinkSync('releases/2', `${current}.new`);
    fs.renameSync(`${current}.new`, current);
  };
  return { place, current, move };
}

for (const [what, from] of [
  ['cd current; node server.js', ({ current }) => ({ cwd: current, env: { PWD: current }, script: 'server.js' })],
  ['node current/server.js', ({ place }) => ({ cwd: place, env: { PWD: place }, script: 'current/server.js' })],
  ['node with the whole path, from elsewhere', ({ current }) => ({ cwd: '/', env: { PWD: '/' }, script: path.join(current, 'server.js') })],
]) {
  test(`a roll starts the release that a deployment has linked: ${what}`, async (t) => {
    const release = deployed(t);
    const { act, see } = await controlled(t, { ...from(release), shown: ['RELEASE'] });
    await act('start');
    const first = await see();
    assert.equal(first.RELEASE, '1');
    release.move();
    fs.rmSync(path.join(release.place, 'releases', '1'), { recursive: true });
    await act('roll');
    const second = await see();
    assert.deepEqual([second.RELEASE, second.pid === first.pid], ['2', false]);
    if (what.startsWith('cd ')) assert.equal(second.cwd, path.join(release.place, 'releases', '2'));
  });
}

test('a missing folder ends a roll with an error that names it, and the workers continue to serve', async (t) => {
  const home = path.join(folder(t), 'home');
  fs.mkdirSync(home);
  const { act, order, see } = await controlled(t, { cwd: home, env: { PWD: home } });
  await act('start');
  const { pid } = await see();
  fs.rmdirSync(home);
  assert.match(await order('roll'), new RegExp(`WORKER_STARTUP\\S* .*The workers' folder ${home} cannot be entered: No such file`));
  assert.equal((await see()).pid, pid);
  fs.mkdirSync(home);
  await act('roll');
  assert.equal((await see()).cwd, fs.realpathSync(home));
});
