// @ts-check
'use strict';

// Records the memory of Node.js programs for tests/leak.rs: `node tests/leak/record.js [NAME ...]` writes NAME.csv
// beside this file. Each program runs 60 steps of 250 ms, which stand for 60 samples at the default
// `memoryCheckInterval` of 30 s: the column `seconds` counts 30 per step. `floor` is the heap with its external memory
// after the latest major collection.

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const v8 = require('node:v8');

const STEPS = 60;
const STEP_MS = 250;
const SECONDS_PER_STEP = 30;
const KB = 1024;

/** @param {number} bytes */
const record = (bytes) => Array.from({ length: bytes / 64 }, (_, at) => ({ at, text: `value ${at}` }));

/**
 * The programs: each returns what runs in every step, and optionally the load that goes with it.
 *
 * @type {Record<string, () => { step: (at: number) => void | Promise<void>, load?: (at: number) => number }>}
 */
const PROGRAMS = {
  /** Requests whose objects outlive a few collections of the young generation. */
  'request-garbage'() {
    /** @type {object[]} */
    const underWay = [];
    return {
      step() {
        for (let i = 0; i < 200; i++) {
          underWay.push(JSON.parse(JSON.stringify(record(16 * KB))));
          if (underWay.length > 100) underWay.shift();
        }
      },
    };
  },
  /** A cache with a maximum number of entries, full after a third of the time. */
  'full-cache'() {
    const cache = new Map();
    return {
      step(at) {
        for (let i = 0; i < 1000; i++) {
          cache.set(at * 1000 + i, Buffer.alloc(4 * KB, i).toString('latin1'));
          if (cache.size > 20_000) cache.delete(cache.keys().next().value);
        }
      },
    };
  },
  /** A memo of results by keys of which few are frequent: it grows ever slower. */
  'memo-of-keys'() {
    const memo = new Map();
    return {
      step() {
        for (let i = 0; i < 4000; i++) {
          const key = Math.floor(Math.random() ** 3 * 60_000);
          if (!memo.has(key)) memo.set(key, record(KB));
        }
      },
    };
  },
  /** Functions that are compiled when they are first used, for the first quarter of the time. */
  'warm-up'() {
    /** @type {Function[]} */
    const modules = [];
    return {
      step(at) {
        for (let i = 0; i < Math.max(0, 60 - 4 * at); i++) {
          const body = Array.from({ length: 100 }, (_, line) => `const v${line} = { a: ${at + line}, b: [${i}] };`);
          const compiled = new Function(`${body.join('\n')}\nreturn [${body.map((_, line) => `v${line}`)}]`);
          compiled();
          modules.push(compiled);
        }
        JSON.stringify(record(256 * KB));
      },
    };
  },
  /** Uploads: buffers that live for a few steps. */
  'buffers'() {
    /** @type {Buffer[]} */
    const held = [];
    return {
      step() {
        for (let i = 0; i < 40; i++) {
          held.push(Buffer.alloc(256 * KB, i));
          if (held.length > 60) held.shift();
        }
      },
    };
  },
  /** So little garbage that a major collection is rare. */
  'little-garbage'() {
    return {
      step() {
        for (let i = 0; i < 20; i++) JSON.stringify(record(16 * KB));
      },
    };
  },
  /** Data that are loaded once in a while, and then kept. */
  'data-sets'() {
    /** @type {object[]} */
    const sets = [];
    return {
      step(at) {
        if (at === 18 || at === 41) sets.push(record(4096 * KB));
        JSON.stringify(record(512 * KB));
      },
    };
  },
  /** Sessions that are open at the same time: more and more for half of the time, then fewer. */
  'sessions'() {
    /** @type {object[]} */
    const open = [];
    const wanted = (/** @type {number} */ at) => Math.round(20 + 400 * Math.sin((Math.PI * at) / STEPS));
    return {
      step(at) {
        open.push(...Array.from({ length: Math.max(0, wanted(at) - open.length) }, () => record(32 * KB)));
        open.length = wanted(at);
        JSON.stringify(record(2048 * KB));
      },
      load: wanted,
    };
  },
  /** A server of Node.js' own with keep-alive clients. */
  'http-server'() {
    const server = http.createServer((request, response) => {
      response.end(JSON.stringify({ url: request.url, items: record(8 * KB) }));
    });
    server.listen(0, '127.0.0.1').unref();
    const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
    const ask = () =>
      new Promise((resolve, reject) => {
        const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
        http.get({ port, host: '127.0.0.1', agent, path: `/${Math.random()}` }, (response) => {
          response.resume().on('end', resolve);
        }).on('error', reject);
      });
    return {
      async step() {
        if (!server.listening) await new Promise((resolve) => server.once('listening', resolve));
        await Promise.all(Array.from({ length: 200 }, ask));
      },
    };
  },
  /** LEAK: each request leaves a closure in a list. */
  'leaking-closures'() {
    /** @type {Function[]} */
    const listeners = [];
    /** @type {object[]} */
    const underWay = [];
    return {
      step() {
        for (let i = 0; i < 150; i++) {
          const request = record(16 * KB);
          listeners.push(() => request.length);
          underWay.push(record(64 * KB));
          if (underWay.length > 100) underWay.shift();
        }
      },
    };
  },
  /** LEAK: 1.5 MB of buffers per step, which is 50 KB per second. */
  'leaking-buffers'() {
    /** @type {Buffer[]} */
    const kept = [];
    return {
      step() {
        for (let i = 0; i < 24; i++) kept.push(Buffer.alloc(64 * KB, i));
        JSON.stringify(record(2048 * KB));
      },
    };
  },
};

/** Runs a program in this process and writes its samples. @param {string} name */
async function run(name) {
  const { step, load = () => 1 } = PROGRAMS[name]();
  let [floor, collections] = [0, 0];
  console.log('seconds,rss,floor,collections,load');
  for (let at = 0; at < STEPS; at++) {
    const profiler = new v8.GCProfiler();
    profiler.start();
    const end = performance.now() + STEP_MS;
    await step(at);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, end - performance.now())));
    const major = (profiler.stop()?.statistics ?? []).filter(({ gcType }) => gcType === 'MarkSweepCompact');
    const last = major.at(-1)?.afterGC.heapStatistics;
    if (last) floor = last.usedHeapSize + last.externalMemory;
    collections += major.length;
    const row = [(at + 1) * SECONDS_PER_STEP, process.memoryUsage.rss(), floor || '', collections, load(at)];
    console.log(row.join(','));
  }
  process.exit();
}

/** @param {string} name @returns {Promise<void>} */
function save(name) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [__filename, '--run', name], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part) => (text += part));
    child.on('close', (code) => {
      if (code !== 0) return reject(new Error(`${name} ended with ${code}`));
      fs.writeFileSync(path.join(__dirname, `${name}.csv`), text);
      resolve();
    });
  });
}

async function main() {
  const [first, ...rest] = process.argv.slice(2);
  if (first === '--run') return run(rest[0]);
  const names = first === undefined ? Object.keys(PROGRAMS) : [first, ...rest];
  for (const name of names) {
    await save(name);
    console.log(`${name}.csv`);
  }
}

main();
