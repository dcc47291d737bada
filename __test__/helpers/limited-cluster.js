'use strict';

// A cluster that serves behind express-rate-limit, and clients that count what it allows.

const net = require('node:net');

/** Requests that a client sends at once. */
const BATCH = 20;

/** The program of every process; self-contained, because programs include its source. */
function limited({ port, workers, limit, express, rateLimit, window }) {
  const { createServer } = require('drover');
  const { DroverStore } = require('drover/rate-limit');
  const { rateLimit: limiter } = require(rateLimit);
  const handler = require(express)();
  // Also a worker that is late on a busy machine gets its share.
  const loadBalancing = { strategy: 'round-robin', healthAware: false };
  const app = createServer({ app: handler, cluster: { enabled: true, config: { workers, loadBalancing } } });
  handler.use((_, response, next) => {
    response.set('Served-By', app.workerId);
    next();
  });
  // The clients are one: all of their requests have one key.
  handler.use(limiter({ windowMs: 2_000_000_000, limit, store: new DroverStore(app, { window }), keyGenerator: () => 'client' }));
  handler.get('/', (_, response) => response.send('served;'));
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('it serves'));
}

/** Data for `limited`. */
const given = (port, limit, more) => ({
  port,
  limit,
  workers: 8,
  window: 'fixed',
  express: require.resolve('express'),
  rateLimit: require.resolve('express-rate-limit'),
  ...more,
});

/** Sends requests on one connection; resolves to what was answered. */
function client(port, requests) {
  return new Promise((resolve, reject) => {
    let [sent, text, seen] = [0, '', 0];
    const socket = net.connect(port, '127.0.0.1');
    const send = () => {
      const count = Math.min(BATCH, requests - sent);
      sent += count;
      socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(count));
    };
    socket.setEncoding('latin1').on('connect', send).on('error', reject);
    socket.on('data', (piece) => {
      text += piece;
      seen = text.split('HTTP/1.1 ').length - 1;
      if (seen < sent) return;
      if (sent < requests) send();
      // The body of the last response may come in a segment of its own.
      else if (/(;|again later\.)$/.test(text)) socket.end();
    });
    socket.on('close', () => resolve(text));
  });
}

/** Sends so many requests on kept connections; resolves to the counts of each status, and the workers that served. */
async function load(port, requests, connections = 64) {
  const each = Array.from({ length: connections }, (_, at) => Math.floor((requests + at) / connections));
  const texts = await Promise.all(each.map((count) => client(port, count)));
  const statuses = {};
  const workers = new Set();
  for (const text of texts) {
    for (const [, status] of text.matchAll(/HTTP\/1\.1 (\d+)/g)) statuses[status] = (statuses[status] ?? 0) + 1;
    for (const [, worker] of text.matchAll(/^Served-By: (\d+)/gm)) workers.add(worker);
  }
  return { statuses, workers: workers.size };
}

module.exports = { given, limited, load };
