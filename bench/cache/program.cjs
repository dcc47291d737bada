'use strict';

// The program of bench/cache.mjs: a cluster of two. Worker 0 measures, worker 1 writes what worker 0 then reads from the
// shared memory. The primary prints the figures.

const http = require('node:http');
const { createServer } = require('../..');

const packages = process.env.BENCH_PACKAGES;
const redisSocket = process.env.BENCH_REDIS;
const require_ = require('node:module').createRequire(`${packages}/package.json`);

const KEYS = 1024;
const ROUNDS = Number(process.env.BENCH_ROUNDS);
const keys = Array.from({ length: KEYS }, (_, at) => `product:${at}:en-GB`);
const value = (round) => String(round).padEnd(100, 'v');

const app = createServer({
  app: http.createServer((_, response) => response.end()),
  cluster: { enabled: true, config: { workers: 2, monitoring: { enabled: false }, healthCheck: { enabled: false }, processManagement: { hangTimeout: 0 } } },
});
const { cache } = app;

const median = (all) => all.sort((a, b) => a - b)[Math.floor(all.length / 2)];

/** Nanoseconds for each call of `act` with each of the keys. */
function each(act) {
  const begun = process.hrtime.bigint();
  for (const key of keys) act(key);
  return Number(process.hrtime.bigint() - begun) / KEYS;
}

/** The same when each call is awaited, for some of the keys. */
async function eachAwaited(act, some = keys.slice(0, 200)) {
  const begun = process.hrtime.bigint();
  for (const key of some) await act(key);
  return Number(process.hrtime.bigint() - begun) / some.length;
}

async function measure() {
  const { LRUCache } = require_('lru-cache');
  const { open } = require_('lmdb');
  const { createClient } = redisSocket ? require_('redis') : { createClient: null };
  const map = new Map();
  const lru = new LRUCache({ max: 10 * KEYS });
  const lmdb = open({ path: process.env.BENCH_LMDB, encoding: 'string' });
  const redis = createClient ? createClient({ socket: { path: redisSocket } }) : null;
  await redis?.connect();
  const found = { map: [], lru: [], near: [], far: [], lmdb: [], set: [], awaited: [], lmdb_put: [], redis_get: [], redis_set: [], ipc: [], get_or_set: [] };
  for (let round = 0; round < ROUNDS; round += 1) {
    // Whatever was read before is not valid any more: the first look reads the shared memory, the second does not.
    await app.sendToWorker(1, 'write', round);
    for (const key of keys) {
      map.set(key, value(round));
      lru.set(key, value(round));
      lmdb.put(key, value(round));
    }
    await lmdb.flushed;
    let bytes = 0;
    const look = (get) => each((key) => (bytes += get(key).length));
    const far = look((key) => cache.get(key));
    const stored = look((key) => lmdb.get(key));
    // Interleaved, several times: one pass is 30 microseconds.
    const [mapNs, lruNs, nearNs] = [[], [], []];
    for (let pass = 0; pass < 20; pass += 1) {
      mapNs.push(look((key) => map.get(key)));
      nearNs.push(look((key) => cache.get(key)));
      lruNs.push(look((key) => lru.get(key)));
    }
    if (bytes !== KEYS * 100 * 62) throw new Error(`${bytes} bytes were read`);
    found.far.push(far);
    found.lmdb.push(stored);
    found.map.push(median(mapNs));
    found.near.push(median(nearNs));
    found.lru.push(median(lruNs));
    found.set.push(each((key) => cache.set(key, value(round))));
    await cache.set('end', round);
    if (round % 5 === 0) {
      found.awaited.push(await eachAwaited((key) => cache.set(key, value(round))));
      found.get_or_set.push(await eachAwaited((key) => cache.getOrSet(`${round} ${key}`, () => value(round))));
      found.lmdb_put.push(await eachAwaited((key) => lmdb.put(key, value(round))));
      if (redis !== null) {
        found.redis_set.push(await eachAwaited((key) => redis.set(key, value(round))));
        found.redis_get.push(await eachAwaited((key) => redis.get(key)));
      }
      found.ipc.push(await eachAwaited((key) => app.sendToPrimary('read', key)));
    }
  }
  await redis?.quit();
  await lmdb.close();
  return Object.fromEntries(Object.entries(found).map(([name, all]) => [name, all.length === 0 ? null : median(all)]));
}

app.onMessage('write', async (round) => {
  for (const key of keys) cache.set(key, value(round));
  await cache.set('end', round);
});
app.onMessage('measure', measure);
if (app.isPrimary) {
  const map = new Map(keys.map((key) => [key, value(0)]));
  app.onMessage('read', (key) => map.get(key));
}

app.start(0, '127.0.0.1').then(async () => {
  if (!app.isPrimary) return;
  const figures = await app.sendToWorker(0, { type: 'measure', data: null }, { timeout: 600_000 });
  console.log(`FIGURES ${JSON.stringify(figures)}`);
  await app.stopCluster();
});
