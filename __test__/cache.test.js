'use strict';

// The shared cache: the same in one process and in a cluster, where all processes have one.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { test } = require('node:test');
const { setImmediate: nextTurn, setTimeout: wait } = require('node:timers/promises');
const { messagingCluster } = require('./helpers/messaging-cluster');
const { folder, program } = require('./helpers/program');
const { createServer } = require('..');

const app = createServer({ app: http.createServer(() => {}), cluster: { enabled: false } });
const { cache } = app;

/** A namespace for one test. */
let count = 0;
const fresh = () => cache.namespace(`test ${(count += 1)}`);

test('a value is read as it was written, at once and later', async () => {
  const own = fresh();
  const values = {
    text: 'text',
    empty: '',
    wide: 'Ω and 漢字 and \u{1f600}',
    number: 1.5,
    yes: true,
    nothing: null,
    object: { a: [1, { b: 'ä' }], c: 'Ω' },
    bytes: Buffer.from([0, 1, 255]),
    'wide key Ω': 'value',
  };
  const written = Object.entries(values).map(([key, value]) => own.set(key, value));
  for (const [key, value] of Object.entries(values)) assert.deepEqual(own.get(key), value, `own ${key}`);
  await Promise.all(written);
  for (const round of ['far', 'near']) {
    for (const [key, value] of Object.entries(values)) assert.deepEqual(own.get(key), value, `${round} ${key}`);
  }
  assert.deepEqual(own.getMany(['text', 'absent', 'number']), ['text', undefined, 1.5]);
  assert.deepEqual([own.has('text'), own.has('absent'), own.get('absent')], [true, false, undefined]);
});

test('a value of several blocks is whole', async () => {
  const own = fresh();
  for (const size of [1000, 100_000, 3_000_000]) {
    const text = Array.from({ length: size }, (_, at) => String.fromCharCode(97 + ((at * 7) % 26))).join('');
    await own.set('large', text);
    assert.equal(own.get('large'), text);
    await own.set('large', Buffer.from(text));
    assert.ok(own.get('large').equals(Buffer.from(text)));
  }
});

test('what a program does to a value that it got or gave changes nothing in the cache', async () => {
  const own = fresh();
  const given = Buffer.from('given');
  const written = own.set('bytes', given);
  given.fill(0);
  own.get('bytes').fill(1);
  assert.equal(own.get('bytes').toString(), 'given');
  await written;
  for (const round of [1, 2]) {
    own.get('bytes').fill(1);
    assert.equal(own.get('bytes').toString(), 'given', `round ${round}`);
  }
  await own.set('object', { list: [1] });
  own.get('object').list.push(2);
  assert.deepEqual(own.get('object'), { list: [1] });
});

test('a value lives as long as its ttl', async () => {
  const own = fresh();
  await own.set('short', 1, { ttl: 30 });
  await own.set('text', 1, { ttl: '1h' });
  assert.deepEqual([own.get('short'), own.get('text')], [1, 1]);
  while (own.has('short')) await wait(5);
  assert.deepEqual([own.get('short'), own.get('text')], [undefined, 1]);
  for (const ttl of ['soon', -1, {}, NaN]) {
    assert.throws(() => own.set('a', 1, { ttl }), { code: 'INVALID_ARGUMENT' }, String(ttl));
  }
});

test('lifetimes follow the clock of the machine although a test has replaced it', async (t) => {
  const own = fresh();
  const { now } = Date;
  t.mock.method(Date, 'now', () => 0);
  t.mock.method(globalThis, 'queueMicrotask', () => {});
  await own.set('first', 1, { ttl: 60_000 });
  const begin = now();
  while (now() < begin + 5) await wait(1);
  await own.set('second', 1, { ttl: 60_000 });
  assert.ok(own.expiresAt('second') >= begin + 60_005 && own.expiresAt('first') < begin + 60_005);
});

test('deleting, tags, patterns and clearing remove values and tell how many', async () => {
  const [own, other] = [fresh(), fresh()];
  await Promise.all([own.set('user:1', 1, { tags: ['a'] }), own.set('user:2', 2, { tags: ['a', 'b'] }), own.set('item', 3), other.set('user:1', 4, { tags: ['b'] })]);
  const deleted = own.delete('item');
  assert.equal(own.get('item'), undefined, 'at once');
  assert.deepEqual([await deleted, await own.delete('item')], [true, false]);
  assert.equal(await own.invalidateTags('b'), 2, 'of all namespaces');
  assert.deepEqual([own.get('user:1'), own.get('user:2'), other.get('user:1')], [1, undefined, undefined]);
  await Promise.all([own.set('user:2', 2), own.set('item', 3), other.set('user:1', 4)]);
  assert.equal(await own.invalidate('user:*'), 2);
  assert.deepEqual([own.get('user:1'), own.get('item'), other.get('user:1')], [undefined, 3, 4]);
  assert.equal(await own.clear(), 1);
  assert.deepEqual([own.get('item'), other.get('user:1')], [undefined, 4]);
});

test('counters count, and are numbers', async () => {
  const own = fresh();
  assert.deepEqual([await own.increment('n'), await own.increment('n', 5), await own.decrement('n', 2)], [1, 6, 4]);
  assert.equal(own.get('n'), 4);
  await own.set('set', 41);
  assert.equal(await own.increment('set'), 42);
  await own.set('word', 'a word');
  await assert.rejects(own.increment('word'), { code: 'INVALID_ARGUMENT' });
  await assert.rejects(own.increment('n', 0.5), { code: 'INVALID_ARGUMENT' });
  await own.increment('short', 1, { ttl: 20 });
  while (own.has('short')) await wait(5);
  assert.equal(await own.increment('short'), 1, 'it begins anew');
  await own.delete('n');
  assert.equal(await own.increment('n'), 1);
});

test('compareAndSet sets only what is as expected', async () => {
  const own = fresh();
  assert.equal(await own.compareAndSet('k', undefined, { v: 1 }), true);
  assert.equal(await own.compareAndSet('k', undefined, { v: 2 }), false);
  assert.equal(await own.compareAndSet('k', { v: 2 }, { v: 3 }), false);
  assert.equal(await own.compareAndSet('k', { v: 1 }, 'Ω'), true);
  assert.equal(await own.compareAndSet('k', 'Ω', 'b'), true);
  assert.equal(own.get('k'), 'b');
});

test('an increment during compareAndSet is before it, which sets nothing then, or after it', async () => {
  const own = fresh();
  let [taken, added] = [0, 0];
  const add = () => {
    added += 1;
    return own.increment('n');
  };
  for (let round = 0; round < 5000; round += 1) {
    await add();
    const count = own.get('n');
    const isTaken = own.compareAndSet('n', count, 0);
    // The request is sent between the two. The writer does it some microseconds later, at the time of the increment.
    await nextTurn();
    await nextTurn();
    const until = performance.now() + Math.random() * 0.1;
    while (performance.now() < until);
    const [isSet] = await Promise.all([isTaken, add()]);
    if (isSet) taken += count;
  }
  assert.equal(taken + own.get('n'), added);
});

test('one factory call serves everybody, and its failure rejects', async () => {
  const own = fresh();
  let calls = 0;
  const compute = async () => {
    calls += 1;
    await wait(10);
    return { calls };
  };
  const values = await Promise.all(Array.from({ length: 100 }, () => own.getOrSet('k', compute)));
  assert.deepEqual([calls, values[0], values[99]], [1, { calls: 1 }, { calls: 1 }]);
  assert.notEqual(values[98], values[99], 'each has its own');
  assert.deepEqual(await own.getOrSet('k', compute), { calls: 1 });
  await assert.rejects(own.getOrSet('bad', () => Promise.reject(new RangeError('no'))), RangeError);
  assert.equal(await own.getOrSet('bad', () => 'good'), 'good');
  assert.equal(await own.getOrSet('undefined', () => undefined), undefined);
  assert.equal(await own.getOrSet('undefined', () => null), null);
  assert.equal(await own.getOrSet('undefined', () => 'computed'), null, 'null is a value');
});

test('a stale value within its grace is used while a new one is computed, or when that fails', async () => {
  const own = fresh();
  await own.set('k', 'old', { ttl: 20, grace: '1h' });
  while (own.has('k')) await wait(5);
  assert.equal(own.get('k'), undefined, 'get returns fresh values alone');
  assert.equal(await own.getOrSet('k', () => Promise.reject(new Error('no')), { timeout: 10_000 }), 'old');
  let land = () => {};
  const landed = new Promise((resolve) => (land = resolve));
  const compute = () => landed.then(() => 'new');
  assert.equal(await own.getOrSet('k', compute), 'old', 'at once');
  const soft = own.getOrSet('k', compute, { timeout: 10_000 });
  land();
  assert.equal(await soft, 'new', 'within the timeout');
  assert.equal(own.get('k'), 'new');
});

test('hardTimeout rejects, and the value is stored all the same', async () => {
  const own = fresh();
  let land = () => {};
  const landed = new Promise((resolve) => (land = resolve));
  const late = own.getOrSet('k', () => landed.then(() => 'late'), { hardTimeout: 10 });
  await assert.rejects(late, { code: 'CACHE_TIMEOUT' });
  const again = own.getOrSet('k', () => 'another');
  land();
  assert.equal(await again, 'late');
});

test('what cannot be stored is told to whoever awaits it, and else as an error event', async () => {
  const own = fresh();
  await own.set('k', 'before');
  await assert.rejects(own.set('k', 'x'.repeat(9 << 20)), { code: 'INVALID_ARGUMENT', message: /too large/ });
  assert.equal(own.get('k'), undefined, 'the value before is not true any more');
  await assert.rejects(own.set('x'.repeat(5000), 1), { code: 'INVALID_ARGUMENT', message: /too long/ });
  await assert.rejects(own.set('k', Buffer.alloc(40 << 20)), { code: 'INVALID_ARGUMENT', message: /too large/ });
  const told = new Promise((resolve) => cache.once('error', resolve));
  own.set('k', 'x'.repeat(9 << 20));
  const [error] = await Promise.all([told, own.set('another', 1)]);
  assert.match(error.message, /too large/);
  for (const value of [undefined, () => {}, Symbol('s')]) assert.throws(() => own.set('k', value), { code: 'INVALID_ARGUMENT' });
  for (const key of [1, undefined, null]) assert.throws(() => own.get(key), { code: 'INVALID_ARGUMENT' });
  assert.throws(() => cache.namespace('a*'), { code: 'INVALID_ARGUMENT' });
});

for (const [what, size] of [
  ['an eighth', 9 << 20],
  ['a quarter', 20 << 20],
]) {
  test(`a value of more than ${what} of the cache leaves nothing behind, and is computed for each who asks`, async (t) => {
    const own = fresh();
    await own.set('key', 'before');
    await assert.rejects(own.set('key', Buffer.alloc(size)), { code: 'INVALID_ARGUMENT' });
    assert.equal(own.get('key'), undefined, 'what the key had is gone');
    const ignore = () => {};
    cache.on('error', ignore);
    t.after(() => cache.off('error', ignore));
    for (const byte of [1, 2]) {
      const value = await own.getOrSet('computed', () => Buffer.alloc(size, byte));
      assert.deepEqual([value.length, value[0]], [size, byte]);
      await own.set('after', 1);
    }
  });
}

test('hits and misses are counted, and told to listeners', async () => {
  const own = fresh();
  const told = [];
  own.on('hit', (key) => told.push(`hit ${key}`)).on('miss', (key) => told.push(`miss ${key}`));
  await own.set('k', 'v');
  for (const key of ['k', 'k', 'absent']) own.get(key);
  await own.getOrSet('k', () => 'v');
  assert.deepEqual(told, ['hit k', 'hit k', 'miss absent', 'hit k']);
  await own.increment('n');
  const all = await own.stats();
  const { bytes, ...counts } = all;
  assert.deepEqual(counts, { hits: 3, nearHits: 2, farHits: 1, misses: 1, computed: 0, waited: 0, entries: 2, sets: 2, evicted: 0, expired: 0, invalidated: 0, refused: 0 });
  assert.ok(bytes > 100 && bytes < 400, `${bytes} bytes`);
});

test('evictions and invalidations are told to listeners', async (t) => {
  const running = program(t, () => {
    const { createServer } = require('drover');
    const app = createServer({ app: require('node:http').createServer(() => {}), cluster: { enabled: false, config: { cache: { maxEntries: 10 } } } });
    const { cache } = app;
    const told = { evicted: [], users: [], root: [] };
    (async () => {
      await cache.set('before', 1);
      cache.on('evicted', (key) => told.evicted.push(key)).on('invalidated', (what) => told.root.push(what));
      const users = cache.namespace('users').on('invalidated', (what) => told.users.push(what));
      await new Promise(setImmediate);
      for (let at = 0; at < 12; at += 1) await cache.set(`key ${at}`, at, { tags: ['t'] });
      await users.set('a', 1);
      await users.invalidate('*');
      await cache.invalidateTags('t');
      const { evicted } = await cache.stats();
      console.log(`TOLD ${JSON.stringify([told.evicted.length === evicted && evicted > 2, told.users, told.root[0].tag, told.root[0].count > 5])}`);
    })();
  });
  const [, json] = await running.until(/TOLD (.*)/);
  assert.deepEqual(JSON.parse(json), [true, [{ pattern: '*', count: 1 }], 't', true]);
});

test('cache.warm runs once in a cluster, before a server listens if that is asked for', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell) => {
      if (!app.isPrimary) return;
      tell([app.cache.get('warm'), app.cache.get('runs')]);
      await app.restartCluster();
      tell(app.cache.get('runs'));
    },
    {
      given: {},
      before: (app) => app,
      config: { workers: 3 },
      code: `cache: {
        warmBeforeReady: true,
        warm: async (cache) => {
          await cache.increment('runs');
          await new Promise((resolve) => setTimeout(resolve, 100));
          await cache.set('warm', 'yes');
        },
      }`,
    },
  );
  assert.deepEqual(await told(2), [['yes', 1], 1]);
});

test('a warm that fails is logged, and the next worker tries again', async (t) => {
  const { told, running } = messagingCluster(
    t,
    async (app, tell) => {
      if (app.isPrimary) tell(app.cache.get('runs'));
    },
    {
      config: { workers: 2 },
      code: `cache: {
        warmBeforeReady: true,
        warm: async (cache) => {
          if ((await cache.increment('runs')) === 1) throw new Error('the database is not there');
        },
      }`,
    },
  );
  assert.deepEqual(await told(1), [2]);
  await running.until(/cache\.warm failed[^]*the database is not there/);
});

test('the keys of a namespace are listed, each once, and only those with a fresh value', async () => {
  const [own, other] = [fresh(), fresh()];
  const wanted = Array.from({ length: 3000 }, (_, at) => `key ${at}${at % 3 === 0 ? ' Ω' : ''}`);
  for (const key of wanted) own.set(key, 1);
  await other.set('of another namespace', 1);
  await own.set('short', 1, { ttl: 20 });
  await own.set('deleted', 1);
  while (own.has('short')) await wait(5);
  own.delete('deleted');
  own.increment('counter');
  const listed = [];
  for await (const key of own.keys()) listed.push(key);
  assert.deepEqual(listed.sort(), [...wanted, 'counter'].sort());
});

test('expiresAt tells when the lifetime of a value or a counter ends', async () => {
  const own = fresh();
  const before = Date.now();
  own.set('own', 1, { ttl: 60_000 });
  const first = own.expiresAt('own');
  assert.ok(first >= before + 60_000 && first <= Date.now() + 60_000);
  await own.increment('counter', 1, { ttl: 60_000 });
  const second = own.expiresAt('counter');
  assert.ok(second >= before + 60_000 && second <= Date.now() + 60_000);
  assert.equal(own.expiresAt('own'), first);
  await own.increment('counter', 1, { ttl: 90_000 });
  assert.equal(own.expiresAt('counter'), second, 'the ttl is of its first increment');
  await own.set('forever', 1);
  await own.set('short', 1, { ttl: 20 });
  while (own.has('short')) await wait(5);
  assert.deepEqual([own.expiresAt('forever'), own.expiresAt('short'), own.expiresAt('absent')], [Infinity, undefined, undefined]);
});

test('the cache is full without failures: what is not read is evicted', async (t) => {
  const running = program(t, () => {
    const { createServer } = require('drover');
    const app = createServer({ app: require('node:http').createServer(() => {}), cluster: { enabled: false, config: { cache: { maxSize: '1MB' } } } });
    const { cache } = app;
    (async () => {
      // Of many lengths: each begins at another place in the memory.
      const often = Array.from({ length: 40 }, (_, at) => `often ${at}`);
      for (const [at, key] of often.entries()) cache.set(key, 'y'.repeat(at * 7));
      for (let at = 0; at < 20_000; at += 1) {
        cache.set(`key ${at}`, 'x'.repeat(500));
        if (at % 100 !== 0) continue;
        await cache.set('end', at);
        for (const key of often) cache.get(key);
      }
      await cache.set('end', 'of it');
      let there = 0;
      for (let at = 0; at < 20_000; at += 1) there += cache.has(`key ${at}`) ? 1 : 0;
      console.log(`THERE ${often.filter((key) => cache.has(key)).length} ${there > 500 && there < 2500} ${there}`);
    })();
  });
  await running.until(/THERE 40 true/);
  assert.deepEqual(await running.exit, { code: 0, signal: null });
});

test('all processes of a cluster have one cache, also the primary before its start', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell) => {
      const { cache } = app;
      if (app.isPrimary) {
        tell(await app.sendToWorker(0, 'read', null));
        await cache.set('from the primary', { n: 1 });
        tell(await app.broadcastToWorkers('read', null).then((all) => all.map(({ data }) => data)));
        await app.sendToWorker(1, 'write', null);
        tell(cache.get('from a worker'));
        const counts = await Promise.all([0, 1].map((id) => app.sendToWorker(id, 'count', 1000)));
        tell([counts.length, cache.get('n')]);
        await app.invalidateCache('from*');
        tell(await app.broadcastToWorkers('read', null).then((all) => all.map(({ data }) => data)));
      }
    },
    {
      before: (app) => {
        const { cache } = app;
        if (app.isPrimary) cache.set('early', true);
        app.onMessage('read', () => [cache.get('early'), cache.get('from the primary') ?? null]);
        app.onMessage('write', () => cache.set('from a worker', 'Ω'));
        app.onMessage('count', async (times) => {
          for (let at = 0; at < times; at += 1) await cache.increment('n');
        });
      },
    },
  );
  assert.deepEqual(await told(5), [
    [true, null],
    [
      [true, { n: 1 }],
      [true, { n: 1 }],
    ],
    'Ω',
    [2, 2000],
    [
      [true, null],
      [true, null],
    ],
  ]);
});

test('10,000 misses of a key in 8 workers are one factory call; the death of its worker passes it on', async (t) => {
  const { told, running } = messagingCluster(
    t,
    async (app, tell) => {
      if (!app.isPrimary) return;
      const all = await app.broadcastToWorkers('miss', 1250, { timeout: 60_000 });
      tell(all.map(({ data }) => data));
      tell(app.cache.get('calls'));
      const [owner] = await Promise.race([app.sendToWorker(0, 'own', null), new Promise(() => {})]);
      const others = app.getAllWorkers().filter(({ id }) => id !== '0');
      const waiting = Promise.all(others.map(({ id }) => app.sendToWorker(id, 'take over', null)));
      process.kill(owner, 'SIGKILL');
      const took = await waiting;
      tell([...new Set(took)].length);
    },
    {
      config: { workers: 8, ipc: { timeout: 60_000 } },
      before: (app) => {
        const { cache } = app;
        app.onMessage('miss', async (times) => {
          const compute = async () => {
            await cache.increment('calls');
            await new Promise((resolve) => setTimeout(resolve, 50));
            return 'value';
          };
          const values = await Promise.all(Array.from({ length: times }, () => cache.getOrSet('k', compute)));
          return values.every((value) => value === 'value');
        });
        app.onMessage('own', () => new Promise((resolve) => cache.getOrSet('flight', () => (resolve([process.pid]), new Promise(() => {})))));
        app.onMessage('take over', () => cache.getOrSet('flight', () => process.pid));
      },
    },
  );
  const lines = await told(3);
  assert.deepEqual(lines, [Array(8).fill(true), 1, 1]);
  assert.doesNotMatch(running.stdout, /cache channel/);
});

test('the cache survives rolls and kills of workers, sealed too', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell) => {
      if (!app.isPrimary) return;
      await app.sendToWorker(0, 'write', null);
      await app.restartCluster();
      tell(await app.sendToWorker(1, 'read', null));
      const [{ pid }] = app.getAllWorkers();
      const again = new Promise((resolve) => app.cluster.once('worker:ready', resolve));
      process.kill(pid, 'SIGKILL');
      await again;
      tell(await app.sendToWorker(0, 'read', null));
    },
    {
      config: { ipc: { encryption: true } },
      before: (app) => {
        app.onMessage('write', () => app.cache.set('k', { since: 'the first' }));
        app.onMessage('read', () => app.cache.get('k'));
      },
    },
  );
  assert.deepEqual(await told(2), [{ since: 'the first' }, { since: 'the first' }]);
});

test('cache.persist keeps the values over a restart of the primary, also of a process without a cluster', async (t) => {
  for (const enabled of [true, false]) {
    const cwd = folder(t);
    const body = ({ enabled }) => {
      const { createServer } = require('drover');
      const config = { workers: 1, cache: { persist: 'values' } };
      const app = createServer({ app: require('node:http').createServer(() => {}), cluster: { enabled, config } });
      app.onMessage('count', () => app.cache.increment('starts'));
      app.start(0, '127.0.0.1').then(async () => {
        if (app.isWorker) return;
        const starts = enabled ? await app.sendToWorker(0, 'count', null) : await app.cache.increment('starts');
        const last = app.cache.get('last');
        app.cache.set('last', `start ${starts}`);
        console.log(`STARTS ${starts} ${last}`);
        await app.stopCluster();
      });
    };
    for (const [starts, last] of [
      [1, undefined],
      [2, 'start 1'],
    ]) {
      const running = program(t, body, { cwd, given: { enabled } });
      await running.until(new RegExp(`STARTS ${starts} ${last}`));
      assert.deepEqual(await running.exit, { code: 0, signal: null });
    }
    fs.truncateSync(path.join(cwd, 'values'), 40);
    const running = program(t, body, { cwd, given: { enabled } });
    await running.until(/STARTS 1 undefined/);
    await running.until(/The shared cache begins empty, because .*values cannot be used/);
    await running.exit;
  }
});

test('defaultTtl, grace, earlyRefresh and serialization apply to every value', async (t) => {
  const running = program(t, () => {
    const { createServer } = require('drover');
    const cacheConfig = { defaultTtl: '1h', grace: '1h', earlyRefresh: 0.9, serialization: 'advanced' };
    const app = createServer({ app: require('node:http').createServer(() => {}), cluster: { enabled: false, config: { cache: cacheConfig } } });
    const { cache } = app;
    const turn = () => new Promise(setImmediate);
    (async () => {
      await cache.set('map', new Map([['at', new Date(5)]]));
      const map = cache.get('map');
      const left = cache.expiresAt('map') - Date.now();
      await cache.set('endless', 1, { ttl: 0 });
      const lifetimes = [left > 3_000_000 && left <= 3_600_000, cache.expiresAt('endless') === Infinity];

      await cache.set('stale', 'old', { ttl: 20 });
      while (cache.has('stale')) await turn();
      const stale = await cache.getOrSet('stale', () => Promise.reject(new Error('no')), { timeout: 10_000 });

      let calls = 0;
      let wasFresh;
      const compute = () => {
        wasFresh = cache.has('early');
        calls += 1;
        return calls;
      };
      const seen = new Set();
      while (calls < 2) {
        seen.add(await cache.getOrSet('early', compute, { ttl: 1000 }));
        await turn();
      }
      console.log(`SEEN ${JSON.stringify([map.get('at').getTime(), lifetimes, stale, wasFresh, [...seen]])}`);
    })();
  });
  const [, json] = await running.until(/SEEN (.*)/);
  assert.deepEqual(JSON.parse(json), [5, [true, true], 'old', true, [1]]);
});
