'use strict';

// Until a worker is ready the primary hears what it writes; what the program does with its streams stays its own.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { program } = require('./helpers/program');

/** A logger that puts its own function in place of `write` before the worker is ready, as many do. */
function logging({ port, undo }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const app = createServer({
    app: http.createServer((asked, response) => {
      if (asked.url === '/undo') process.stdout.write = undo;
      process.stdout.write(`asked for ${asked.url}\n`);
      response.end();
    }),
    cluster: { enabled: true, config: { workers: 1 } },
  });
  if (app.isWorker) {
    const { write } = process.stdout;
    undo = write;
    process.stdout.write = function (chunk, ...rest) {
      return write.call(this, `[logged] ${chunk}`, ...rest);
    };
  }
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
}

test('what a program put in place of process.stdout.write before its worker was ready stays there', async (t) => {
  const port = await freePort();
  const cluster = program(t, logging, { given: { port } });
  await cluster.until(/the cluster is ready/);
  for (const path of ['/first', '/second', '/third']) {
    await request(port, { path });
    await cluster.until(new RegExp(`^\\[logged\\] asked for ${path}$`, 'm'));
  }
  // And what it finds there when it takes its own off again still writes.
  await request(port, { path: '/undo' });
  await cluster.until(/^asked for \/undo$/m);
  await request(port, { path: '/last' });
  await cluster.until(/^asked for \/last$/m);
  assert.equal(cluster.stdout.match(/asked for/g).length, 5);
});
