'use strict';

// drover/rate-limit with a fleet: counts in Redis, exact in all machines together, and what they do while it is away.

const assert = require('node:assert/strict');
const { before, test } = require('node:test');
const { request } = require('./helpers/http');
const { load } = require('./helpers/limited-cluster');
const { DURABLE, asking, machine, noticed } = require('./helpers/machines');
const { redisProgram, startRedis } = require('./helpers/redis');
const { skip } = require('./helpers/skip');

let lacks = false;
before(async () => {
  if ((await redisProgram()) === undefined) lacks = 'there is no redis-server, and it may not be installed';
});

const LIMIT = 100;

/** The program of each machine: all requests are one client's. */
function limited({ port, redis, workers, sayFleet, kind, limit, passes, express, rateLimit }) {
  const { createServer } = require('drover');
  const { DroverStore } = require('drover/rate-limit');
  const handler = require(express)();
  const app = createServer({ app: handler, redis, cluster: { enabled: true, config: { workers, loadBalancing: { strategy: 'round-robin' } } } });
  sayFleet(app);
  handler.use((_, response, next) => {
    response.set('Served-By', app.workerId);
    next();
  });
  if (kind === 'flexible') {
    const { RateLimiterDrover } = require('drover/rate-limit/flexible');
    const limiter = new RateLimiterDrover({ storeClient: app, points: limit, duration: 3600 });
    handler.get('/reset', async (_, response) => response.json(await limiter.delete('client')));
    handler.use(async (_, response, next) => {
      try {
        await limiter.consume('client');
        next();
      } catch (refused) {
        if (refused instanceof Error) next(refused);
        else response.status(429).send('again later.');
      }
    });
  } else {
    const store = new DroverStore(app, { window: kind });
    handler.get('/reset', async (_, response) => response.json((await store.resetAll()) ?? null));
    handler.get('/back', async (_, response) => response.json((await store.decrement('client')) ?? null));
    handler.get('/look', async (_, response) => response.json((await store.get('client')) ?? null));
    handler.use(require(rateLimit).rateLimit({ windowMs: 2_000_000_000, limit, store, keyGenerator: () => 'client', passOnStoreError: passes }));
  }
  handler.get('/', (_, response) => response.send('served;'));
  handler.use((error, _, response, next) => (response.headersSent ? next(error) : response.status(503).send(`${error.code};`)));
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('UP'));
}

/** Starts two machines. */
function fleetOf(t, redis, { kind = 'fixed', options = {}, passes = false } = {}) {
  const given = { kind, passes, limit: LIMIT, express: require.resolve('express'), rateLimit: require.resolve('express-rate-limit') };
  return Promise.all([0, 1].map(() => machine(t, limited, { redis: { port: redis.port, ...options }, given })));
}

const ask = async ({ port }, path) => (await request(port, { path })).json();

/** Sends so many requests to each machine at once; resolves to the statuses of each. */
async function loadAll(machines, requests) {
  const all = await Promise.all(machines.map(({ port }) => load(port, requests, 8)));
  for (const { workers } of all) assert.equal(workers, 2, 'both workers have served');
  return all.map(({ statuses }) => statuses);
}

/** The sum over the machines. */
const sumOf = (all, status) => all.reduce((sum, statuses) => sum + (statuses[status] ?? 0), 0);

for (const kind of ['fixed', 'sliding', 'flexible']) {
  test(`a limit is exact in two machines of two workers together: ${kind}`, async (t) => {
    if (lacks) return skip(t, lacks);
    const machines = await fleetOf(t, await startRedis(t), { kind });
    const all = await loadAll(machines, 200);
    assert.deepEqual([sumOf(all, 200), sumOf(all, 429)], [LIMIT, 400 - LIMIT]);
    await ask(machines[0], '/reset');
    assert.equal(sumOf(await loadAll(machines, 200), 200), LIMIT, 'after a reset on one machine');
  });

  test(`while Redis is away each machine counts exactly for itself, and then Redis' counts hold again: ${kind}`, async (t) => {
    if (lacks) return skip(t, lacks);
    const redis = await startRedis(t, { settings: DURABLE });
    const machines = await fleetOf(t, redis, { kind });
    assert.equal(sumOf(await loadAll(machines, 100), 200), LIMIT);
    await noticed(machines, 'unavailable', () => redis.kill());
    for (const statuses of await loadAll(machines, 200)) assert.deepEqual(statuses, { 200: LIMIT, 429: 200 - LIMIT });
    await noticed(machines, 'available', () => redis.start());
    for (const statuses of await loadAll(machines, 100)) assert.deepEqual(statuses, { 429: 100 });
  });
}

test('a request is taken back, and looked at, from any machine', async (t) => {
  if (lacks) return skip(t, lacks);
  const [one, other] = await fleetOf(t, await startRedis(t));
  assert.equal(await ask(one, '/look'), null);
  await ask(one, '/back');
  assert.equal(await ask(one, '/look'), null, 'nothing is taken from no count');
  await request(one.port);
  await request(other.port);
  const { totalHits, resetTime } = await ask(one, '/look');
  assert.equal(totalHits, 2);
  assert.ok(Math.abs(new Date(resetTime) - Date.now() - 2_000_000_000) < 60_000);
  for (let times = 0; times < 4; times += 1) await ask(other, '/back');
  assert.equal((await ask(one, '/look')).totalHits, 0);
});

for (const [how, act, undo] of [
  ['is killed', (redis) => redis.kill(), (redis) => redis.start()],
  ['stands still', (redis) => redis.freeze(), (redis) => redis.thaw()],
]) {
  test(`when Redis ${how} under load no request fails, or waits for it beyond the timeout`, async (t) => {
    if (lacks) return skip(t, lacks);
    const redis = await startRedis(t, { settings: DURABLE });
    // The time of an answer beyond that of Redis is the machine's own.
    const timeout = 1000;
    const machines = await fleetOf(t, redis, { options: { timeout } });
    const clients = asking(16, async (at) => ({ status: (await request(machines[at % 2].port)).status }));
    await clients.more(100);
    await noticed(machines, 'unavailable', () => act(redis));
    await clients.more(100);
    await noticed(machines, 'available', () => undo(redis));
    await clients.more(100);
    await clients.end();
    assert.deepEqual(clients.answers.filter(({ status, time }) => ![200, 429].includes(status) || time > 2 * timeout), []);
  });
}

test("with onFailure 'refuse' a limiter fails while Redis is away, or passes if it is told to", async (t) => {
  if (lacks) return skip(t, lacks);
  const redis = await startRedis(t, { settings: DURABLE });
  const options = { onFailure: 'refuse' };
  const [strict, flexible, passing] = await Promise.all([
    fleetOf(t, redis, { options }),
    fleetOf(t, redis, { options, kind: 'flexible' }),
    fleetOf(t, redis, { options, passes: true }),
  ]);
  const all = [...strict, ...flexible, ...passing];
  await noticed(all, 'unavailable', () => redis.kill());
  for (const { port } of [...strict, ...flexible]) {
    const { status, body } = await request(port);
    assert.deepEqual([status, body], [503, 'FLEET_UNAVAILABLE;']);
  }
  for (const { port } of passing) assert.equal((await request(port)).status, 200);
  await noticed(all, 'available', () => redis.start());
  for (const { port } of all) assert.equal((await request(port)).status, 200);
});
