'use strict';

// A fleet: clusters of several machines, here of one, joined by a Redis server.

const assert = require('node:assert/strict');
const { before, test } = require('node:test');
const { setTimeout: wait } = require('node:timers/promises');
const { pack } = require('../lib/fleet/parts');
const { freePort, request } = require('./helpers/http');
const { program } = require('./helpers/program');
const { monitor, redisProgram, startRedis } = require('./helpers/redis');
const { skip } = require('./helpers/skip');

/** Looks until there is something. */
async function poll(look) {
  for (;;) {
    const found = await look();
    if (found) return found;
    await wait(10);
  }
}

let lacks = false;
before(async () => {
  if ((await redisProgram()) === undefined) lacks = 'there is no redis-server, and it may not be installed';
});

/** The program of each machine. */
function machine({ port, monitor, redis, config }) {
  const express = require('drover');
  const http = require('node:http');
  const app = express.createServer({
    app: http.createServer(async (incoming, response) => {
      const url = new URL(incoming.url, 'http://localhost');
      const given = Object.fromEntries(url.searchParams);
      try {
        const result = await routes[url.pathname.slice(1)](given);
        response.end(JSON.stringify(result ?? null));
      } catch (error) {
        response.statusCode = 503;
        response.end(JSON.stringify({ code: error.code, message: error.message }));
      }
    }),
    redis,
    cluster: { enabled: true, config: { workers: 2, monitoring: { port: monitor, host: '127.0.0.1' }, ...config } },
  });
  const heard = [];
  const aborted = [];
  app.onMessage('sum', ({ a, b }, message) => ({ sum: a + b, from: message.from, machine: message.machine }));
  app.onMessage('boom', () => {
    throw new RangeError('out of range');
  });
  app.onMessage('cache:invalidate', (message) => void heard.push(message.pattern));
  const routes = {
    id: () => ({ id: app.fleet.id, worker: app.workerId, pid: process.pid }),
    broadcast: ({ type, ...data }) => app.broadcastToWorkers(type ?? 'sum', { a: 1, b: 2, ...data }, { scope: 'fleet', timeout: 5000 }),
    members: () => app.fleet.members(),
    health: () => app.getClusterHealth(),
    leader: () => ({ isLeader: app.fleet.isLeader, token: app.fleet.token, local: app.isLeader }),
    once: async () =>
      app.runOnce('task', async ({ token, signal }) => {
        signal.addEventListener('abort', () => aborted.push(token));
        return { token, id: app.fleet.id };
      }, { scope: 'fleet' }),
    aborted: () => aborted,
    set: ({ space = '', key, value, tags }) => app.cache.namespace(space).set(key, value, tags ? { tags: [tags] } : {}).then(() => true),
    get: ({ space = '', key }) => app.cache.namespace(space).get(key),
    remove: ({ key }) => app.cache.delete(key),
    invalidate: ({ pattern, space = '' }) => app.cache.namespace(space).invalidate(pattern),
    untag: ({ tag }) => app.cache.invalidateTags(tag),
    invalidateCache: ({ pattern }) => app.invalidateCache(pattern),
    heard: () => heard,
  };
  app.start(port, '127.0.0.1').then(() => console.log('UP'));
}

/** Starts a machine: { port, monitor, ask(route), running }. */
async function join(t, redis, { config = {}, options = {}, ...rest } = {}) {
  const [port, monitor] = [await freePort(), await freePort()];
  const given = { port, monitor, redis: { host: '127.0.0.1', port: redis.port, prefix: 'test:', ...options }, config };
  const running = program(t, machine, { given, ...rest });
  await running.event('cluster:started');
  const ask = async (route, query = {}) => {
    const { body } = await request(port, { path: `/${route}?${new URLSearchParams(query)}` });
    return JSON.parse(body);
  };
  return { port, monitor, running, ask, fleet: async () => (await request(monitor, { path: '/cluster/fleet' })).json().fleet };
}

/** Starts so many machines, which know each other. */
async function fleetOf(t, redis, count, options) {
  const machines = await Promise.all(Array.from({ length: count }, () => join(t, redis, options)));
  await Promise.all(machines.map(({ ask }) => poll(async () => (await ask('members')).length === count)));
  return machines;
}

test('a broadcast reaches the workers of every machine, and its answers come back', async (t) => {
  if (lacks) return skip(t, lacks);
  const redis = await startRedis(t);
  const [one, other] = await fleetOf(t, redis, 2);
  const { id } = await one.ask('id');
  const { id: otherId } = await other.ask('id');
  const responses = await one.ask('broadcast');
  // The sender itself is left out, as in its own cluster.
  assert.equal(responses.length, 3);
  const foreign = responses.filter(({ machine: from }) => from !== undefined);
  assert.deepEqual(foreign.map(({ workerId }) => workerId).sort(), ['0', '1']);
  for (const { success, machine: from, data } of foreign) {
    assert.deepEqual([success, from, data], [true, otherId, { sum: 3, from: 'fleet', machine: id }]);
  }
  const failures = (await one.ask('broadcast', { type: 'boom' })).filter(({ machine: from }) => from !== undefined);
  assert.deepEqual(failures.map(({ success, code }) => [success, code]), [[false, 'HANDLER_FAILED'], [false, 'HANDLER_FAILED']]);
  assert.match(failures[0].error, /out of range/);
  const unheard = (await one.ask('broadcast', { type: 'nobody' })).map(({ code }) => code);
  assert.deepEqual(unheard, ['NO_HANDLER', 'NO_HANDLER', 'NO_HANDLER']);
});

test('every machine is a member with its figures, and is gone when it stops', async (t) => {
  if (lacks) return skip(t, lacks);
  const redis = await startRedis(t);
  const [one, other] = await fleetOf(t, redis, 2);
  const { id } = await other.ask('id');
  // As of a heartbeat.
  const member = await poll(async () => (await one.ask('members')).find((found) => found.id === id && found.figures.workers === 2));
  assert.equal(member.pid, other.running.pid);
  const members = await one.ask('members');
  const status = await one.fleet();
  assert.equal(status.available, true);
  assert.deepEqual(status.members.map((found) => found.id), members.map((found) => found.id));
  const { body } = await request(one.monitor, { path: '/metrics' });
  assert.match(body, /^drover_fleet_members 2\.0$/m);
  assert.match(body, /^drover_fleet_up 1\.0$/m);
  other.running.signal('SIGTERM');
  await other.running.exit;
  // It says goodbye: nobody waits for its silence.
  await one.running.until(/"event":"fleet:left"/);
  assert.equal((await one.ask('members')).length, 1);
});

test('what one machine invalidates is gone on all', async (t) => {
  if (lacks) return skip(t, lacks);
  const redis = await startRedis(t);
  const machines = await fleetOf(t, redis, 2);
  const [one, other] = machines;
  const keys = ['user:1', 'user:2', 'removed', 'tagged', 'kept', 'wide Ω'];
  for (const { ask } of machines) {
    for (const key of keys) await ask('set', { key, value: key, ...(key === 'tagged' ? { tags: 'grün Ω' } : {}) });
    await ask('set', { space: 'own', key: 'user:1', value: 'own' });
  }
  await one.ask('invalidate', { pattern: 'user:*' });
  await one.ask('remove', { key: 'removed' });
  assert.equal(await one.ask('untag', { tag: 'grün Ω' }), 1);
  await one.ask('invalidate', { pattern: '*Ω' });
  for (const { ask } of machines) {
    for (const key of keys.slice(0, -2)) {
      await poll(async () => (await ask('get', { key })) === null);
    }
    await poll(async () => (await ask('get', { key: 'wide Ω' })) === null);
    assert.equal(await ask('get', { key: 'kept' }), 'kept');
    assert.equal(await ask('get', { space: 'own', key: 'user:1' }), 'own');
  }
  await other.ask('invalidate', { space: 'own', pattern: '*' });
  await poll(async () => (await one.ask('get', { space: 'own', key: 'user:1' })) === null);
  await other.ask('invalidateCache', { pattern: 'a*' });
  assert.deepEqual(await one.ask('heard'), ['a*']);
});

test('an invalidation is acknowledged when Redis has told it, also one of many', async (t) => {
  if (lacks) return skip(t, lacks);
  const redis = await startRedis(t);
  const [one] = await fleetOf(t, redis, 1, { options: { timeout: '30s' } });
  await redis.freeze();
  const settled = [];
  const all = ['a', 'b', 'c'].map((pattern) => one.ask('invalidate', { pattern }).then(() => settled.push(pattern)));
  // What is asked later and needs no Redis has its answers.
  for (let round = 0; round < 10; round += 1) await one.ask('members');
  assert.deepEqual(settled, []);
  redis.thaw();
  await Promise.all(all);
  assert.equal(await redis.command('XLEN', '{test:}log'), 3);
});

test('one machine leads, by a token that only grows, and its tasks run there alone', async (t) => {
  if (lacks) return skip(t, lacks);
  const redis = await startRedis(t);
  const machines = await fleetOf(t, redis, 3);
  const leaders = async (all) => {
    const found = await Promise.all(all.map(async ({ ask }) => (await ask('leader')).token));
    return found.filter((token) => token !== null);
  };
  const [token, ...others] = await leaders(machines);
  assert.deepEqual(others, []);
  // Requests go to both workers of a machine: one of them is its leader.
  const ran = new Set();
  for (let round = 0; round < 4; round += 1) {
    for (const { ask } of machines) {
      const result = await ask('once');
      if (result !== null) ran.add(JSON.stringify(result));
    }
  }
  assert.equal(ran.size, 1);
  const [first] = [...ran].map((text) => JSON.parse(text));
  assert.equal(first.token, token);
  const ids = await Promise.all(machines.map(async ({ ask }) => (await ask('id')).id));
  const leading = machines[ids.indexOf(first.id)];
  const rest = machines.filter((one) => one !== leading);
  leading.running.signal('SIGTERM');
  await leading.running.exit;
  await poll(async () => (await leaders(rest)).length === 1);
  const [next] = await leaders(rest);
  assert.ok(next > token, `${next} after ${token}`);
});

test('a leader that cannot renew its lease knows that it does not lead, and its task is told', async (t) => {
  if (lacks) return skip(t, lacks);
  const redis = await startRedis(t);
  const [one] = await fleetOf(t, redis, 1);
  // Until the worker that leads is the one that answers.
  await poll(async () => (await one.ask('once')) !== null);
  const { token } = await one.ask('leader');
  await redis.freeze();
  await poll(async () => (await one.ask('leader')).token === null);
  await poll(async () => (await one.ask('aborted')).includes(token));
  await poll(async () => (await one.ask('once'))?.code === 'FLEET_UNAVAILABLE');
  redis.thaw();
  await poll(async () => (await one.ask('leader')).token >= token);
});

test('without Redis what is of the machine goes on, and what was missed is told when it is back', async (t) => {
  if (lacks) return skip(t, lacks);
  const redis = await startRedis(t);
  const machines = await fleetOf(t, redis, 2);
  const [one, other] = machines;
  for (const { ask } of machines) await ask('set', { key: 'a', value: '1' });
  await redis.kill();
  await Promise.all(machines.map(({ running }) => running.until(/"event":"fleet:unavailable"/)));
  assert.equal((await one.ask('members')).code, 'FLEET_UNAVAILABLE');
  const responses = await one.ask('broadcast');
  assert.deepEqual(responses.map(({ success, code }) => [success, code]), [[true, undefined], [false, 'FLEET_UNAVAILABLE']]);
  assert.equal((await one.fleet()).available, false);
  const health = (await request(one.monitor, { path: '/cluster/health' })).json();
  assert.deepEqual([health.status, health.fleet.available], ['healthy', false]);
  assert.deepEqual((await one.ask('health')).fleet, { available: false });
  assert.equal(await one.ask('invalidate', { pattern: 'a' }), 1);
  assert.equal(await other.ask('get', { key: 'a' }), '1');
  await redis.start();
  await Promise.all(machines.map(({ running }) => running.untilMany(2, /"event":"fleet:available"/)));
  await poll(async () => (await other.ask('get', { key: 'a' })) === null);
  await Promise.all(machines.map(({ ask }) => poll(async () => (await ask('members')).length === 2)));
  // Each of it was said once.
  assert.equal(one.running.stdout.match(/"event":"fleet:unavailable"/g).length, 1);
  assert.equal(one.running.stdout.match(/"event":"fleet:left"/g), null);
});

test('a machine that was away reads what it missed in the log, and keeps the rest', async (t) => {
  if (lacks) return skip(t, lacks);
  const redis = await startRedis(t);
  const one = await join(t, redis);
  const other = await join(t, redis);
  await poll(async () => (await other.ask('members')).length === 2);
  // The log has an entry that both know.
  await one.ask('invalidate', { pattern: 'nothing' });
  await poll(async () => (await other.fleet()).counts.invalidationsReceived === 1);
  for (const key of ['a', 'b']) await other.ask('set', { key, value: key });
  const { resets } = (await other.fleet()).counts;
  const [{ id }, { id: otherId }] = [await one.ask('id'), await other.ask('id')];
  const client = await redis.connect();
  const [, connection] = (await client.command('CLIENT', 'LIST')).match(new RegExp(`^id=(\\d+) .* name=drover-${otherId} `, 'm'));
  const message = pack(0, [id, pack(0, ['\0a'])]);
  // In one step: its connection is cut, and there is an entry that nobody is told.
  await client.command('MULTI');
  await client.command('CLIENT', 'KILL', 'ID', connection);
  await client.command('XADD', '{test:}log', '*', 'b', message.toString('latin1'));
  await client.command('EXEC');
  client.close();
  await poll(async () => (await other.ask('get', { key: 'a' })) === null);
  assert.equal(await other.ask('get', { key: 'b' }), 'b');
  assert.equal((await other.fleet()).counts.resets, resets);
});

test('nothing is refused and nothing waits while Redis does not answer', async (t) => {
  if (lacks) return skip(t, lacks);
  const redis = await startRedis(t);
  const [one] = await fleetOf(t, redis, 1, { options: { timeout: 200 } });
  await redis.freeze();
  const begin = performance.now();
  assert.equal(await one.ask('invalidate', { pattern: 'a' }), 0);
  assert.equal(await one.ask('set', { key: 'a', value: '1' }), true);
  await one.running.until(/"event":"fleet:unavailable"/);
  assert.ok(performance.now() - begin < 5000);
  redis.thaw();
  await one.running.untilMany(2, /"event":"fleet:available"/);
});

test('with ipc.encryption nothing that passes over Redis can be read, and another key is another fleet', async (t) => {
  if (lacks) return skip(t, lacks);
  const redis = await startRedis(t);
  const config = { ipc: { encryption: true, key: 'a passphrase that nobody knows' } };
  const machines = await fleetOf(t, redis, 2, { config });
  const seen = await monitor(t, redis);
  const responses = await machines[0].ask('broadcast', { secret: 'hunter2' });
  assert.equal(responses.filter(({ success }) => success).length, 3);
  await machines[0].ask('invalidate', { pattern: 'hunter2' });
  await poll(() => seen().includes('EVALSHA'));
  assert.ok(!seen().includes('hunter2'));
  const stranger = await join(t, redis, { config: { ipc: { encryption: true, key: 'another passphrase entirely' } } });
  assert.equal((await stranger.ask('members')).length, 1);
  const answered = await stranger.ask('broadcast');
  assert.equal(answered.length, 1);
  // It leads its own.
  assert.notEqual((await stranger.ask('leader')).token, null);
});

test('a cluster that has stopped has left the fleet, also if it is asked, and joins it again when it starts', async (t) => {
  if (lacks) return skip(t, lacks);
  const redis = await startRedis(t);
  const running = program(
    t,
    ({ port, redis: options }) => {
      const app = require('drover').createServer({ app: require('node:http').createServer(), redis: options, cluster: { enabled: true, config: { workers: 1 } } });
      const around = async () => {
        await app.start(port, '127.0.0.1');
        if (!app.isPrimary) return;
        console.log(`JOINED ${(await app.fleet.members()).length}`);
        await app.stopCluster();
        const { code } = await app.fleet.members().catch((error) => error);
        console.log(`LEFT ${app.fleet.isLeader} ${app.fleet.token} ${code}`);
      };
      around().then(() => app.isPrimary && around());
    },
    { given: { port: await freePort(), redis: { host: '127.0.0.1', port: redis.port, prefix: 'test:', timeout: '10s' } } },
  );
  await running.exit;
  const said = running.stdout.match(/^(?:JOINED|LEFT) .*$/gm);
  assert.deepEqual(said, ['JOINED 1', 'LEFT false null STOPPED', 'JOINED 1', 'LEFT false null STOPPED']);
  assert.equal(await redis.command('HLEN', '{test:}members'), 0);
});

test('without redis the fleet is this machine alone', async () => {
  const { createServer } = require('..');
  const http = require('node:http');
  const app = createServer({ app: http.createServer(() => {}), cluster: { enabled: false } });
  assert.equal(app.fleet.isLeader, true);
  assert.deepEqual((await app.fleet.members()).map(({ pid }) => pid), [process.pid]);
  app.onMessage('sum', ({ a, b }) => a + b);
  const responses = await app.broadcastToWorkers('sum', { a: 1, b: 2 }, { self: true, scope: 'fleet' });
  assert.deepEqual(responses.map(({ data }) => data), [3]);
  assert.equal(await app.runOnce('task', ({ token }) => token, { scope: 'fleet' }), 0);
  await assert.rejects(app.runOnce('task', () => {}, { scope: 'world' }), { code: 'INVALID_ARGUMENT' });
  await assert.rejects(app.broadcastToWorkers('sum', {}, { scope: 'world' }), { code: 'INVALID_ARGUMENT' });
});
