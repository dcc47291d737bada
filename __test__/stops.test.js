'use strict';

// A stop under clients that open a connection for each request: whoever the kernel had let in is answered, and who comes
// later is refused. One process resets what is in its queue; the test tells how much, beside drover in the same minute.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const http = require('node:http');
const net = require('node:net');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { runAs } = require('./helpers/runners');

const STOPS = 2;
const CLIENTS = 32;
/** So many are answered before the stop. */
const WARM = 100;

const clients = import('../bench/stops/clients.mjs');

/** Serves at a port; `/slow` takes a while, and `/close` closes the server. At SIGTERM one process does so too. */
function serving({ port, host }) {
  const server = require('node:http').createServer((incoming, response) => {
    if (incoming.url === '/slow') {
      console.log('ASKED');
      setTimeout(() => response.end('slow'), 2500);
    } else {
      if (incoming.url === '/close') server.close();
      response.end('here');
    }
  });
  // What ends is the server, not its process.
  const alive = setInterval(() => {}, 1000);
  process.on('SIGTERM', () => clearInterval(alive));
  server.listen(port, host, () => console.log('LISTENS'));
  if (process.env.CLUSTER_WORKER !== 'true') process.on('SIGTERM', () => server.close());
}

async function started(t, runner, { workers = 1, dispatch = 'auto', host = '127.0.0.1' } = {}) {
  const port = await freePort();
  const config = { loadBalancing: { dispatch } };
  const running = runAs(t, runner, serving, { workers, config, given: { port, host } });
  await running.until(runner === 'drover' ? /^STARTED/m : /^LISTENS/m);
  return { port, running };
}

/** What became of the requests of all clients in one stop. */
async function stopped(t, runner, options) {
  const { port, running } = await started(t, runner, options);
  const { askUntilRefused } = await clients;
  const { counts, done, answered } = askUntilRefused(port, CLIENTS);
  await answered(WARM);
  running.signal('SIGTERM');
  await done;
  assert.equal((await running.exit).code, 0, running.output);
  return counts;
}

for (const dispatch of ['push', 'direct']) {
  for (const [workers, host] of [
    [1, '127.0.0.1'],
    [4, '127.0.0.1'],
    [2, '0.0.0.0'],
  ]) {
    test(`a stop resets nothing that the kernel had accepted: ${dispatch} mode, workers: ${workers}, on ${host}`, async (t) => {
      for (let stop = 0; stop < STOPS; stop += 1) {
        const { reset, silent } = await stopped(t, 'drover', { workers, dispatch, host });
        assert.deepEqual({ reset, silent }, { reset: 0, silent: 0 });
      }
      const { reset } = await stopped(t, 'one process', { host });
      t.diagnostic(`one process reset ${reset}`);
    });
  }
}

for (const runner of ['one process', 'drover']) {
  test(`who comes while the last responses are sent is refused at once: ${runner}`, async (t) => {
    const { port, running } = await started(t, runner, { workers: 2, dispatch: 'direct' });
    let isAnswered = false;
    const slow = request(port, { path: '/slow' });
    slow.then(() => (isAnswered = true));
    await running.until(/^ASKED/m);
    running.signal('SIGTERM');
    // Until the address has closed, somebody may still be let in. A single
    // process resets whom its kernel let in at the moment of the close.
    const letIn = runner === 'one process' ? 'ECONNRESET' : null;
    let refused = null;
    while (refused === null || refused === letIn) {
      refused = await new Promise((resolve) => {
        const late = net.connect(port, '127.0.0.1');
        late.on('error', (error) => resolve(error.code));
        late.on('connect', () => resolve(late.destroy() && null));
      });
    }
    assert.equal(refused, 'ECONNREFUSED');
    assert.equal(isAnswered, false, 'the last response is not sent yet');
    assert.equal((await slow).body, 'slow');
    await running.exit;
  });
}

for (const dispatch of ['push', 'direct']) {
  test(`the server.close() of the last worker resets nothing that the kernel had accepted: ${dispatch} mode`, async (t) => {
    const { port, running } = await started(t, 'drover', { dispatch });
    const { askUntilRefused } = await clients;
    const { counts, done, answered } = askUntilRefused(port, CLIENTS);
    await answered(WARM);
    await request(port, { path: '/close' });
    await done;
    assert.deepEqual({ reset: counts.reset, silent: counts.silent }, { reset: 0, silent: 0 });
    running.signal('SIGTERM');
    assert.equal((await running.exit).code, 0, running.output);
  });
}

for (const runner of ['one process', 'drover']) {
  test(`another process can have the port while the last responses are sent: ${runner}`, async (t) => {
    const { port, running } = await started(t, runner, { workers: 2, dispatch: 'direct' });
    const slow = request(port, { path: '/slow' });
    await running.until(/^ASKED/m);
    running.signal('SIGTERM');
    const bind = () =>
      new Promise((resolve) => {
        const server = http.createServer((_, response) => response.end('the next one'));
        server.once('error', () => resolve(null));
        server.listen(port, '127.0.0.1', () => resolve(server));
      });
    let next = null;
    while (next === null) next = await bind();
    t.after(() => next.close());
    assert.equal((await request(port)).body, 'the next one');
    assert.equal((await slow).body, 'slow');
    next.close();
    await Promise.all([running.exit, once(next, 'close')]);
  });
}
