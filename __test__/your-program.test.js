'use strict';

// Statements of docs/your-program.md that no other test is about: where a program's code runs, and whose its memory is.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { folder, program } = require('./helpers/program');

test('the script of createServer runs in the primary and in each worker, and what isPrimary guards runs once', async (t) => {
  const main = ({ port }) => {
    const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 2 } } });
    console.log(`TOP ${app.isPrimary} ${app.isWorker}`);
    if (app.isPrimary) console.log('GUARDED');
    app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('ALL READY'));
  };
  const run = program(t, main, { given: { port: await freePort() } });
  await run.until(/ALL READY/);
  const tops = [...run.output.matchAll(/TOP (\w+ \w+)/g)].map(([, where]) => where);
  assert.deepEqual(tops.sort(), ['false true', 'false true', 'true false']);
  assert.equal(run.output.match(/GUARDED/g).length, 1);
});

test('without a cluster a program is its own primary, so that what isPrimary guards runs', async (t) => {
  const main = () => {
    const app = require('drover').createServer({ cluster: { enabled: false } });
    console.log(`TOP ${app.isPrimary} ${app.isWorker}`);
  };
  await program(t, main).until(/TOP true false/);
});

test('what exec names runs in the workers alone', async (t) => {
  const fs = require('node:fs');
  const place = folder(t);
  const served = `console.log('SERVED BY', process.env.WORKER_ID);
    require('node:http').createServer((_, response) => response.end('ok')).listen(${await freePort()}, '127.0.0.1');`;
  fs.writeFileSync(`${place}/served.js`, served);
  const main = ({ exec }) => {
    const { ClusterManager } = require('drover');
    new ClusterManager({ exec, workers: 2, monitoring: { enabled: false } }).start().then(() => console.log('ALL READY'));
  };
  const run = program(t, main, { given: { exec: `${place}/served.js` } });
  await run.until(/ALL READY/);
  assert.deepEqual([...run.output.matchAll(/SERVED BY (\w+)/g)].map(([, id]) => id).sort(), ['0', '1']);
});

test('each worker has memory of its own', async (t) => {
  const main = ({ port }) => {
    const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 2 } } });
    let count = 0;
    app.get('/', (_, response) => {
      count += 1;
      response.json({ worker: app.workerId, count });
    });
    app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('ALL READY'));
  };
  const port = await freePort();
  const run = program(t, main, { given: { port } });
  await run.until(/ALL READY/);
  const counts = {};
  for (let visit = 0; visit < 10; visit += 1) {
    const { worker, count } = (await request(port)).json();
    counts[worker] = (counts[worker] ?? 0) + 1;
    assert.equal(count, counts[worker], 'a worker counts what it has served alone');
  }
  assert.equal(Object.keys(counts).length, 2);
});
