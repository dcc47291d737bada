'use strict';

// drover/rate-limit: stores of express-rate-limit and limiters of rate-limiter-flexible, exact in all workers together.

const assert = require('node:assert/strict');
const http = require('node:http');
const { once } = require('node:events');
const { test } = require('node:test');
const { setTimeout: wait } = require('node:timers/promises');
const express = require('express');
const { rateLimit } = require('express-rate-limit');
const { RateLimiterMemory, RLWrapperBlackAndWhite } = require('rate-limiter-flexible');
const { freePort, request } = require('./helpers/http');
const { given, limited, load } = require('./helpers/limited-cluster');
const { messagingCluster } = require('./helpers/messaging-cluster');
const { program } = require('./helpers/program');
const { createServer } = require('..');
const { DroverStore } = require('drover/rate-limit');
const { RateLimiterDrover } = require('drover/rate-limit/flexible');

const { cache } = createServer({ app: http.createServer(() => {}), cluster: { enabled: false } });

/** A namespace of the cache for one test. */
let count = 0;
const fresh = () => cache.namespace(`test ${(count += 1)}`);

/** A store with windows of so many milliseconds. */
function storeOf(time, options) {
  const store = new DroverStore(fresh(), options);
  store.init({ windowMs: time });
  return store;
}

for (const [window, requests] of [
  ['fixed', 100_000],
  ['sliding', 10_000],
]) {
  test(`express-rate-limit in 8 workers allows exactly its limit of ${requests} requests: ${window} window`, async (t) => {
    const port = await freePort();
    const limit = requests / 2;
    const running = program(t, limited, { given: given(port, limit, { window }) });
    await running.until(/it serves/);
    const { statuses, workers } = await load(port, requests);
    assert.deepEqual(statuses, { 200: limit, 429: limit });
    assert.equal(workers, 8);
  });
}

test('a request is counted without a message to the writer once its counter exists', async () => {
  const store = storeOf(60_000);
  await store.increment('k');
  const counts = Array.from({ length: 1000 }, () => store.increment('k'));
  // The writer's answers come in a later turn of the event loop.
  const answered = new Promise((resolve) => setImmediate(resolve, 'later'));
  assert.notEqual(await Promise.race([Promise.all(counts), answered]), 'later');
});

test('a store counts, takes back and forgets', async () => {
  const store = storeOf(60_000);
  const before = Date.now();
  assert.equal(await store.get('k'), undefined);
  const { totalHits, resetTime } = await store.increment('k');
  assert.equal(totalHits, 1);
  assert.ok(resetTime.getTime() >= before + 60_000 && resetTime.getTime() <= Date.now() + 60_000);
  assert.deepEqual(await store.increment('k'), { totalHits: 2, resetTime });
  for (let times = 0; times < 4; times += 1) await store.decrement('k');
  assert.deepEqual(await store.get('k'), { totalHits: 0, resetTime });
  await store.decrement('absent');
  assert.equal(await store.get('absent'), undefined);
  await Promise.all([store.increment('k'), store.increment('other')]);
  await store.resetKey('k');
  assert.deepEqual([await store.get('k'), (await store.get('other')).totalHits], [undefined, 1]);
  await store.resetAll();
  assert.equal(await store.get('other'), undefined);
  assert.deepEqual([store.localKeys, store.prefix], [false, 'rl:']);
});

test('a fixed window begins with the first request, and its counter ends with it', async () => {
  const store = storeOf(40);
  const { resetTime } = await store.increment('k');
  while ((await store.get('k')) !== undefined) await wait(5);
  assert.ok(Date.now() >= resetTime.getTime());
  assert.equal((await store.increment('k')).totalHits, 1);
});

test('a sliding window counts as much of the window before as is not over', async (t) => {
  const time = 60_000;
  const store = storeOf(time, { window: 'sliding' });
  const begin = Math.ceil(Date.now() / time) * time;
  let now = begin;
  // Only which window it is depends on this clock; the counters live by their own.
  t.mock.method(Date, 'now', () => now);
  const hits = async () => (await store.get('k'))?.totalHits;
  assert.equal(await hits(), undefined);
  for (let times = 1; times <= 100; times += 1) assert.equal((await store.increment('k')).totalHits, times);
  now = begin + time - 1;
  assert.equal(await hits(), 100);
  now = begin + 1.25 * time;
  assert.equal(await hits(), 75);
  assert.deepEqual(await store.increment('k'), { totalHits: 76, resetTime: new Date(begin + 2 * time) });
  now = begin + 1.999 * time;
  assert.equal(await hits(), 2, 'rounded up');
  await store.decrement('k');
  assert.equal(await hits(), 1);
  await store.increment('k');
  now = begin + 2.5 * time;
  assert.equal(await hits(), 1);
  await store.resetKey('k');
  assert.equal(await hits(), undefined);
  await store.increment('k');
  now = begin + 4 * time;
  assert.equal(await hits(), undefined);
});

test('limiters with prefixes of their own do not count for each other; other arguments are refused', async () => {
  const own = fresh();
  const stores = ['a:', 'b:'].map((prefix) => new DroverStore(own, { prefix }));
  await Promise.all(stores.map((store) => store.increment('k')));
  await stores[0].resetAll();
  assert.deepEqual([await stores[0].get('k'), (await stores[1].get('k')).totalHits], [undefined, 1]);
  for (const options of [{ prefix: 'a*' }, { prefix: 1 }, { window: 'open' }, { window: 'toString' }]) {
    assert.throws(() => new DroverStore(own, options), { code: 'INVALID_ARGUMENT' }, JSON.stringify(options));
  }
  assert.throws(() => new DroverStore({}), { code: 'INVALID_ARGUMENT' });
});

test('express-rate-limit sends its headers, and finds no fault with the store', async (t) => {
  t.mock.method(console, 'error', () => assert.fail('a complaint'));
  const app = express();
  const limiter = rateLimit({ windowMs: 60_000, limit: 2, standardHeaders: 'draft-8', store: new DroverStore(fresh()) });
  app.get('/', limiter, (_, response) => response.send('served'));
  const server = app.listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const { port } = server.address();
  const answers = [];
  for (let times = 0; times < 3; times += 1) answers.push(await request(port));
  assert.deepEqual(answers.map(({ status }) => status), [200, 200, 429]);
  assert.match(answers[1].headers.ratelimit, /r=0; t=\d+/);
  limiter.resetKey('127.0.0.1');
  assert.equal((await request(port)).status, 200);
});

test('a limiter of rate-limiter-flexible is exact in all workers', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell) => {
      if (!app.isPrimary) return;
      const all = await app.broadcastToWorkers('consume', 500, { timeout: 60_000 });
      tell(all.reduce((sum, { data }) => sum + data, 0));
    },
    {
      config: { workers: 4 },
      before: (app) => {
        const { RateLimiterDrover } = require('drover/rate-limit/flexible');
        const limiter = new RateLimiterDrover({ storeClient: app, points: 777, duration: 600 });
        app.onMessage('consume', async (times) => {
          const results = await Promise.allSettled(Array.from({ length: times }, () => limiter.consume('k')));
          return results.filter(({ status }) => status === 'fulfilled').length;
        });
      },
    },
  );
  assert.deepEqual(await told(1), [777]);
});

test('a limiter of rate-limiter-flexible keeps its contract', async () => {
  const limiter = new RateLimiterDrover({ storeClient: fresh(), points: 2, duration: 60, blockDuration: 120 });
  assert.equal(await limiter.get('k'), null);
  const first = await limiter.consume('k');
  assert.deepEqual([first.consumedPoints, first.remainingPoints, first.isFirstInDuration], [1, 1, true]);
  assert.ok(first.msBeforeNext > 59_000 && first.msBeforeNext <= 60_000);
  assert.equal((await limiter.penalty('k')).consumedPoints, 2);
  assert.equal((await limiter.reward('k', 2)).consumedPoints, 0);
  const refused = await limiter.consume('k', 3).then(assert.fail, (result) => result);
  assert.deepEqual([refused.consumedPoints, refused.msBeforeNext], [3, 120_000]);
  assert.ok((await limiter.get('k')).msBeforeNext > 60_000, 'blocked');
  await limiter.set('k', 1, 0);
  const { consumedPoints, msBeforeNext, remainingPoints } = await limiter.get('k');
  assert.deepEqual([consumedPoints, msBeforeNext, remainingPoints], [1, -1, 1]);
  assert.equal((await limiter.consume('k')).msBeforeNext, -1, 'forever');
  await limiter.block('k', 0);
  await assert.rejects(limiter.consume('k'), ({ msBeforeNext: left }) => left === -1);
  assert.deepEqual([await limiter.delete('k'), await limiter.delete('k'), await limiter.get('k')], [true, false, null]);
  await assert.rejects(limiter.consume('k', 0.5), { code: 'INVALID_ARGUMENT' });
  assert.throws(() => new RateLimiterDrover({ points: 1, duration: 1 }), /storeClient/);
});

test('a limiter of rate-limiter-flexible is insured and wrapped as others are', async () => {
  const broken = new Proxy(fresh(), { get: (target, name) => (name === 'increment' ? () => Promise.reject(new Error('broken')) : Reflect.get(target, name, target)) });
  const insuranceLimiter = new RateLimiterMemory({ points: 5, duration: 60 });
  const insured = new RateLimiterDrover({ storeClient: broken, points: 1, duration: 60, insuranceLimiter });
  assert.equal((await insured.consume('k')).remainingPoints, 4);
  const limiter = new RateLimiterDrover({ storeClient: fresh(), points: 1, duration: 60 });
  const wrapped = new RLWrapperBlackAndWhite({ limiter, blackList: ['bad'] });
  await assert.rejects(wrapped.consume('bad'));
  assert.equal((await wrapped.consume('good')).consumedPoints, 1);
});
