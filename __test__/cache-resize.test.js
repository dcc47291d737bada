'use strict';

// The shared cache gets another size (`updateConfig`) while all processes use it: they map another memory.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { messagingCluster } = require('./helpers/messaging-cluster');
const { folder, program } = require('./helpers/program');

/** Each change of the size that is done. */
const RESIZED = /The shared cache has \d+MB now: \d+ values, \d+ were evicted \(cache\.maxSize\)/g;

/** For `before`: what the processes of a cluster do with the cache. */
const users = (app) => {
  const { cache } = app;
  if (app.isPrimary) return;
  const fs = require('node:fs');
  /** By key, the newest number that this process has seen. */
  const seen = new Map();
  const look = (key, least) => {
    const found = cache.get(key);
    // Nothing is evicted.
    if (found === undefined) return least === 0 && !seen.has(key);
    const isNew = found >= (seen.get(key) ?? 0) && found >= least;
    seen.set(key, Math.max(found, seen.get(key) ?? 0));
    return isNew;
  };
  app.onMessage('look', ({ key, least }) => look(key, least));
  // Sets numbers one after the other, which this and another worker look at, and counts.
  app.onMessage('use', async ({ from, times, keys }) => {
    const own = `of ${app.workerId}`;
    const [other] = app.getAllWorkers().filter(({ id }) => id !== app.workerId);
    let good = 0;
    for (let number = from; number < from + times; number += 1) {
      const written = cache.set(own, number, { tags: ['numbers'] });
      const isOwn = cache.get(own) === number;
      cache.increment('early');
      await written;
      const isSeen = await app.sendToWorker(other.id, 'look', { key: own, least: number });
      const isThere = cache.get(`fill ${number}`)?.length === number;
      const areNew = Array.from({ length: keys }, (_, at) => look(`of ${at}`, 0)).every(Boolean);
      await cache.increment('count');
      await cache.increment('early', -1);
      good += isOwn && isSeen && isThere && areNew ? 1 : 0;
    }
    return good;
  });
  app.onMessage('mappings', async () => {
    // It looks once, so that it has mapped what there is.
    await cache.increment('mappings');
    return fs.readFileSync('/proc/self/maps', 'utf8').match(/memfd:drover-cache[-a-z]*/g).sort();
  });
};

test('while the size changes no process sees an old value, and no increment is lost', async (t) => {
  const { told, running } = messagingCluster(
    t,
    async (app, tell) => {
      if (!app.isPrimary) return;
      const { cache } = app;
      const filling = Array.from({ length: 3000 }, (_, at) => cache.set(`fill ${at}`, 'x'.repeat(at), { tags: ['fill'], ttl: '1h' }));
      await Promise.all(filling);
      const before = await cache.stats();
      const ended = [];
      // It is computed while the size changes.
      let land;
      const flight = cache.getOrSet('flight', () => new Promise((resolve) => (land = resolve)));
      let figures = before;
      let areGrowing = true;
      for (let round = 0; round < 12; round += 1) {
        await app.updateConfig({ cache: { maxSize: round % 2 === 0 ? '192MB' : '48MB' } });
        const all = await app.broadcastToWorkers('use', { from: round * 100 + 1, times: 100, keys: 3 }, { timeout: 60_000 });
        ended.push(...all.map(({ data }) => data));
        const now = await cache.stats();
        areGrowing &&= ['sets', 'farHits', 'nearHits', 'misses'].every((name) => now[name] >= figures[name]);
        figures = now;
      }
      land('landed');
      tell([...new Set(ended), cache.get('count'), cache.get('early'), await flight, areGrowing, figures.sets - before.sets, figures.evicted]);
      const left = cache.expiresAt('fill 2999') - Date.now();
      tell([left > 3_000_000, cache.get('fill 2999').length, await cache.invalidateTags(['fill']), await cache.invalidateTags(['numbers'])]);
    },
    { config: { workers: 3, ipc: { encryption: true, timeout: 60_000 } }, before: users },
  );
  // 3,600 sets of numbers, 2 first increments.
  assert.deepEqual(await told(2), [
    [100, 3600, 0, 'landed', true, 3602, 0],
    [true, 2999, 3000, 3],
  ]);
  await running.untilMany(10, RESIZED);
  assert.doesNotMatch(running.stdout + running.stderr, /cache channel|has ended/);
});

test('what a process had read before is not taken for what is in the other memory', async (t) => {
  const { told, running } = messagingCluster(
    t,
    async (app, tell, _, { count }) => {
      if (!app.isPrimary) return;
      const setAll = (value) => Promise.all(Array.from({ length: count }, (_, at) => app.cache.set(`key ${at}`, value)));
      await setAll('old');
      tell(await app.sendToWorker(0, 'read', null));
      await setAll('new');
      // The log may tell that it is done before the promise resolves.
      process.once('SIGUSR1', async () => tell(await app.sendToWorker(0, 'read', null)));
      await app.updateConfig({ cache: { maxSize: '128MB' } });
    },
    {
      given: { count: 200 },
      config: { workers: 1 },
      before: (app, _, { count }) => {
        // The versions of both memories are the same for many keys.
        app.onMessage('read', async () => {
          await app.cache.increment('reads');
          return [...new Set(Array.from({ length: count }, (_, at) => app.cache.get(`key ${at}`)))];
        });
      },
    },
  );
  assert.deepEqual(await told(1), [['old']]);
  await running.until(/The shared cache has 128MB now/);
  process.kill(running.pid, 'SIGUSR1');
  assert.deepEqual(await told(2), [['old'], ['new']]);
});

test('processes let the memory go that they do not look at any more', async (t) => {
  const { told, running } = messagingCluster(
    t,
    async (app, tell) => {
      if (!app.isPrimary) return;
      await app.cache.set('k', 'v');
      const mappings = async () => (await app.broadcastToWorkers('mappings', null)).map(({ data }) => data);
      tell(await mappings());
      process.once('SIGUSR1', async () => tell(await mappings()));
      for (const maxSize of ['128MB', '32MB', '96MB']) await app.updateConfig({ cache: { maxSize } });
    },
    { before: users },
  );
  const [first] = await told(1);
  await running.until(/The shared cache has 96MB now/);
  process.kill(running.pid, 'SIGUSR1');
  const [, last] = await told(2);
  assert.deepEqual(first, Array(2).fill(['memfd:drover-cache', 'memfd:drover-cache-counters', 'memfd:drover-cache-figures', 'memfd:drover-cache-hints']));
  assert.deepEqual(last, first);
});

test('keys() lists each key once although the size changes meanwhile', async (t) => {
  const { told, running } = messagingCluster(
    t,
    async (app, tell) => {
      if (!app.isPrimary) return;
      const { cache } = app;
      const wanted = Array.from({ length: 3000 }, (_, at) => `key ${at}`);
      await Promise.all(wanted.map((key) => cache.set(key, 1)));
      const sizes = ['256MB', '16MB', '128MB', '512MB'];
      const counts = [];
      for (let round = 0; round < 12; round += 1) {
        const listed = [];
        for await (const key of cache.keys()) {
          if (listed.length % 1000 === 100) await app.updateConfig({ cache: { maxSize: sizes[(round + Math.floor(listed.length / 1000)) % 4] } });
          listed.push(key);
        }
        counts.push(listed.length, new Set(listed).size);
      }
      tell([...new Set(counts)]);
    },
  );
  assert.deepEqual(await told(1), [[3000]]);
  await running.untilMany(5, RESIZED);
});

test('a smaller cache keeps what is read, and cache.persist keeps what was larger', async (t) => {
  const cwd = folder(t);
  const body = ({ maxSize, resized }) => {
    const { createServer } = require('drover');
    const config = { workers: 1, cache: { maxSize, persist: 'values' } };
    const app = createServer({ app: require('node:http').createServer(() => {}), cluster: { enabled: true, config } });
    const { cache } = app;
    app.start(0, '127.0.0.1').then(async () => {
      if (app.isWorker) return;
      if (resized === null) {
        const sizes = ['small', 'large'].map((key) => cache.get(key)?.length ?? 0);
        console.log(`KEPT ${JSON.stringify(sizes)}`);
        await app.stopCluster();
        return;
      }
      await cache.set('small', 'x');
      await app.updateConfig({ cache: { maxSize: resized } });
      process.once('SIGUSR1', async () => {
        await cache.set('large', 'x'.repeat(3 << 20));
        await app.stopCluster();
      });
      console.log('UPDATED');
    });
  };
  const running = program(t, body, { cwd, given: { maxSize: '16MB', resized: '64MB' } });
  await running.until(/UPDATED/);
  await running.until(/The shared cache has 64MB now: 1 values, 0 were evicted/);
  process.kill(running.pid, 'SIGUSR1');
  assert.deepEqual(await running.exit, { code: 0, signal: null });
  for (const [maxSize, kept] of [
    ['16MB', '[1,0]'],
    ['64MB', '[1,0]'],
  ]) {
    const again = program(t, body, { cwd, given: { maxSize, resized: null } });
    const [, found] = await again.until(/KEPT (.*)/);
    assert.equal(found, kept, `with ${maxSize}`);
    await again.exit;
  }
});

test('a process that has no descriptor for another memory says that its cache has ended', async (t) => {
  const { told, running } = messagingCluster(
    t,
    async (app, tell) => {
      if (!app.isPrimary) return;
      await app.cache.set('k', 'v');
      await app.sendToWorker(0, 'read', null);
      const [{ pid }] = app.getAllWorkers();
      require('node:child_process').execFileSync('prlimit', [`--pid=${pid}`, '--nofile=200:']);
      tell(await app.sendToWorker(0, 'fill', null));
      await app.updateConfig({ cache: { maxSize: '128MB' } });
    },
    {
      config: { workers: 1 },
      before: (app) => {
        if (app.isPrimary) return;
        const fs = require('node:fs');
        app.onMessage('read', () => app.cache.get('k'));
        app.onMessage('fill', () => {
          try {
            for (;;) fs.openSync('/dev/null');
          } catch (error) {
            return error.code;
          }
        });
      },
    },
  );
  assert.deepEqual(await told(1), ['EMFILE']);
  await running.until(/the cache has ended in this process, and every look is a miss from now on: a descriptor was lost: this process is at its limit of open files/);
});
