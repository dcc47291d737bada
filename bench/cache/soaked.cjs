'use strict';

// The program of bench/soak-cache.mjs: eight workers use one cache while a killer ends and stops them. A worker tells what it
// found wrong through the primary's standard output; what it has done it notes in files, which outlive it.

const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { createServer } = require('../..');

const folder = process.env.SOAK_FOLDER;
const KEYS = 400;
const WORKERS = 8;

const app = createServer({
  app: http.createServer((_, response) => response.end()),
  cluster: {
    enabled: true,
    config: {
      workers: WORKERS,
      monitoring: { enabled: false },
      healthCheck: { enabled: false },
      cache: { maxSize: '4MB' },
      ipc: { encryption: process.env.SOAK_SEALED === '1' },
      processManagement: { restartDelay: 1, maxRestartDelay: 1, maxRestarts: 100_000, hangTimeout: 0 },
    },
  },
});
const { cache } = app;

const tell = (what, ...more) => console.log(`FOUND ${JSON.stringify([what, ...more])}`);

/** Zipf's law, roughly: a small key is much more frequent. */
const zipf = () => Math.floor(KEYS ** Math.random()) % KEYS;

/** A value that shows whether it is whole, who wrote it, and which of that writer's it is. */
function made(key, writer, version) {
  const length = (key * 37 + version * 101) % 3000;
  return `${key}:${writer}:${version}:`.padEnd(length + 30, String.fromCharCode(97 + (version % 26)));
}

/** Looks that took longer are told one by one, because the process may have been stopped meanwhile; milliseconds. */
const SLOW = 5;

/** All but the long computations is over when there is a file of this name. */
const CALM = path.join(folder, 'calm');
let isCalm = fs.existsSync(CALM);
setInterval(() => (isCalm = fs.existsSync(CALM)), 20).unref();

let worst = 0;
/** The newest version of each key and writer that this process has seen. */
const seen = new Map();

/** What is there: its writer and version. */
function look(key) {
  const begun = performance.now();
  const value = cache.get(`k${key}`);
  const took = performance.now() - begun;
  if (took > SLOW) console.log(`SLOW ${process.pid} ${Date.now() - took} ${took}`);
  else worst = Math.max(worst, took);
  if (value === undefined) return undefined;
  const [name, writer, version] = value.split(':', 3).map(Number);
  if (name !== key || made(key, writer, version) !== value) tell('torn', key, value.slice(0, 60));
  const last = `${key} ${writer}`;
  // Several may write a key (two generations of a slot in a roll), but what one writes never goes back.
  if (version < (seen.get(last) ?? 0)) tell('stale', key, writer, version, seen.get(last));
  else seen.set(last, version);
  return { writer, version };
}

async function write(slot) {
  let version = 0;
  while (!isCalm) {
    const key = Math.floor(zipf() / WORKERS) * WORKERS + slot;
    version += 1;
    const written = cache.set(`k${key}`, made(key, process.pid, version));
    const own = look(key);
    if (own?.writer !== process.pid || own.version !== version) tell('stale', 'own write', key, own, version);
    if (Math.random() < 0.2) {
      await written;
      // Another process must see it now: it was acknowledged.
      const other = (slot + 1 + Math.floor(Math.random() * (WORKERS - 1))) % WORKERS;
      app.sendToWorker(other, 'check', [key, process.pid, version]).catch(() => {});
    }
    if (Math.random() < 0.01) {
      await cache.delete(`k${key}`);
      app.sendToWorker((slot + 1) % WORKERS, 'gone', [key, process.pid, version]).catch(() => {});
    }
    if (Math.random() < 0.3) await new Promise(setImmediate);
  }
}

async function read() {
  while (!isCalm) {
    for (let at = 0; at < 50; at += 1) look(zipf());
    await new Promise(setImmediate);
  }
}

/** Every increment that was acknowledged is a byte in this process's file. */
async function count() {
  const file = fs.openSync(path.join(folder, `counted-${process.pid}`), 'w');
  while (!isCalm) {
    await cache.increment('counter', 1);
    fs.writeSync(file, 'x');
    await new Promise(setImmediate);
  }
}

function isAlive(pid) {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(fs.readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** Only one process at a time computes a value: it holds a file meanwhile. */
async function fly() {
  for (let round = 0; !isCalm; round += 1) {
    const key = `flight ${Math.floor(Date.now() / 200)} ${round % 3}`;
    await cache
      .getOrSet(
        key,
        async () => {
          const file = path.join(folder, key);
          try {
            fs.writeFileSync(file, String(process.pid), { flag: 'wx' });
          } catch {
            const owner = fs.readFileSync(file, 'utf8');
            // A dead owner's flight was passed on. A process that was killed closes its sockets before it is dead.
            for (let tries = 0; owner !== '' && isAlive(owner); tries += 1) {
              if (tries === 100) {
                tell('double', key, owner, process.pid);
                break;
              }
              await new Promise((resolve) => setTimeout(resolve, 10));
            }
            fs.writeFileSync(file, String(process.pid));
          }
          await new Promise((resolve) => setTimeout(resolve, 5));
          // The next flight of this key begins when the value has landed.
          fs.unlinkSync(file);
          return round;
        },
        { ttl: 50 },
      )
      .catch((error) => tell('failed', error.message));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Computations that last so long that a killed worker has some: keys, and milliseconds. */
const [LONG_FLIGHTS, SHORTEST, LONGEST] = [WORKERS, 200, 600];

/** One process computes for some time, and all others wait for it. When each began and ended is in its file. */
async function takeOver(first) {
  const file = fs.openSync(path.join(folder, `flights-${process.pid}`), 'a');
  const note = (what, key) => fs.writeSync(file, `${what} ${key} ${performance.timeOrigin + performance.now()}\n`);
  const fly = async (key) => {
    for (;;) {
      const compute = async () => {
        note('began', key);
        await new Promise((resolve) => setTimeout(resolve, SHORTEST + Math.random() * (LONGEST - SHORTEST)));
        note('ended', key);
        return key;
      };
      await cache.getOrSet(`long flight ${key}`, compute, { ttl: 1 }).catch((error) => tell('failed', error.message));
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 20));
    }
  };
  // Each worker begins with another one.
  await Promise.all(Array.from({ length: LONG_FLIGHTS }, (_, at) => fly((first + at) % LONG_FLIGHTS)));
}

app.onMessage('check', ([key, writer, version]) => {
  const found = look(key);
  if (found?.writer === writer && found.version < version) tell('stale', 'acknowledged', key, found, version);
});
app.onMessage('gone', ([key, writer, version]) => {
  const found = look(key);
  if (found?.writer === writer && found.version <= version) tell('stale', 'deleted', key, found, version);
});

app.start(0, '127.0.0.1').then(() => {
  if (app.isWorker) {
    const slot = Number(app.workerId);
    for (const task of [write(slot), read(), count(), fly(), takeOver(slot)]) task.catch((error) => tell('failed', error.stack));
    setInterval(() => {
      console.log(`WORST ${worst}`);
      worst = 0;
    }, 500);
    return;
  }
  const pids = () => console.log(`PIDS ${JSON.stringify(app.getAllWorkers().map(({ pid }) => pid))}`);
  app.cluster.on('worker:ready', pids);
  pids();
  process.stdin.on('data', async (text) => {
    if (String(text).includes('roll')) await app.restartCluster().catch((error) => console.log(`ROLL ${error.message}`));
    if (!String(text).includes('end')) return;
    process.stdin.destroy();
    // Then nobody counts any more; the cache is the primary's.
    await app.stopCluster(false);
    console.log(`COUNTER ${cache.get('counter')}`);
    console.log(`STATS ${JSON.stringify(await cache.stats())}`);
  });
});
