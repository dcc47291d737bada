'use strict';

// What is counted when workers are replaced: deaths, and replacements that were planned.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { program } = require('./helpers/program');

function serve({ port, api }) {
  const { createServer } = require('drover');
  const app = createServer({
    app(incoming, response) {
      if (incoming.url === '/throw') setImmediate(() => { throw new Error('thrown'); });
      if (incoming.url === '/leave') app.stopCluster();
      response.end(String(process.pid));
    },
    cluster: { enabled: true, config: { workers: 1, monitoring: { port: api } } },
  });
  app.cluster.on('worker:restart', ({ restarts, planned }) => app.isPrimary && console.log(`RESTART ${restarts} ${planned}`));
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('STARTED'));
  if (app.isPrimary) process.on('SIGUSR1', () => app.restartCluster().then(() => console.log('ROLLED')));
}

test('restarts count deaths, and replacements planned exchanges, wherever they are reported', async (t) => {
  const [port, api] = [await freePort(), await freePort()];
  const cluster = program(t, serve, { given: { port, api } });
  await cluster.event('monitoring:listening');
  await cluster.until(/STARTED/);
  let ready = 1;
  const isReady = () => cluster.eventMany((ready += 1), 'worker:ready', { worker: '0' });
  const counted = async () => {
    const ask = async (path) => (await request(api, { path })).json();
    const stats = await ask('/cluster/stats');
    const [worker] = stats.workers;
    const text = (await request(api, { path: '/metrics' })).body;
    const series = (name) => Number(text.match(new RegExp(`^drover_worker_${name}_total\\{.*?\\} (\\d+)\\.0$`, 'm'))[1]);
    const told = { restarts: [], replacements: [] };
    told.restarts.push(worker.restarts, stats.restartCount, series('restarts'));
    told.replacements.push(worker.replacements, stats.replacementCount, series('replacements'));
    for (const [name, values] of Object.entries(told)) assert.equal(new Set(values).size, 1, `${name}: ${values}`);
    return [told.restarts[0], told.replacements[0]];
  };
  assert.deepEqual(await counted(), [0, 0]);

  cluster.signal('SIGUSR1');
  await isReady();
  await cluster.until(/ROLLED/);
  assert.deepEqual(await counted(), [0, 1], 'a roll');

  process.kill(Number((await request(port)).body), 'SIGKILL');
  await isReady();
  assert.deepEqual(await counted(), [1, 1], 'a kill');

  await request(port, { path: '/leave' });
  await isReady();
  assert.deepEqual(await counted(), [1, 2], 'a worker that its program lets leave');

  await request(port, { path: '/throw' });
  await isReady();
  assert.deepEqual(await counted(), [2, 2], 'an uncaught error');
  const events = (await cluster.untilMany(3, /RESTART (\d+) (\w+)/)).map(([, restarts, planned]) => `${restarts} ${planned}`);
  assert.deepEqual(events, ['1 false', '1 true', '2 false']);
});
