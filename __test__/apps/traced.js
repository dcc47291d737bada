'use strict';

// A tracer in a program under drover: clients ask while the cluster is rolled three times, and every request that was
// answered must have come to the receiver as one span, what the leaving workers had not sent yet included.

const http = require('node:http');
const { buffer } = require('node:stream/consumers');
const { once } = require('node:events');
const zlib = require('node:zlib');
const { setTimeout: wait } = require('node:timers/promises');
const { request } = require('../helpers/http');
const { install, start } = require('./deploy');

const ROLLS = 3;
const CLIENTS = 8;
/** Requests that are answered between two rolls. */
const ANSWERS = 200;
/** Milliseconds between two requests of a client. */
const PAUSE = 10;

/** Where a tracer sends its spans: { port, spans }, how many of each request's number. */
async function receive(t, tracer, require) {
  const spans = new Map();
  const broken = [];
  const server = http.createServer(async (incoming, response) => {
    try {
      const raw = await buffer(incoming.headers['content-encoding'] === 'gzip' ? incoming.pipe(zlib.createGunzip()) : incoming);
      if (raw.length > 0) {
        for (const span of tracer.spans({ path: incoming.url.split('?')[0], body: raw }, require)) {
          const [, number] = JSON.stringify(span).match(/\/request\/(\d+)/) ?? [];
          if (number !== undefined) spans.set(Number(number), (spans.get(Number(number)) ?? 0) + 1);
        }
      }
    } catch (error) {
      broken.push(error);
    }
    response.setHeader('content-type', 'application/json');
    // What one of them asks the receiver for before it sends.
    response.end('{"version":"8.0.0"}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close().closeAllConnections());
  return { port: server.address().port, spans, broken };
}

/** Resolves to { answered, failed, missing, doubled } as numbers of requests, and the program's `output`; null where it cannot be had. */
async function traced(t, tracer) {
  const installed = await install(t, tracer);
  if (installed === null) return null;
  const { port: receiver, spans, broken } = await receive(t, tracer, installed.require);
  const { running, place } = await start(t, tracer, installed, 'drover', { receiver });
  const answered = [];
  let failed = 0;
  let number = 0;
  let isOver = false;
  const client = async (agent) => {
    while (!isOver) {
      number += 1;
      const own = number;
      await request(place.port, { path: `/request/${own}`, agent }).then(
        ({ status }) => (status === 200 ? answered.push(own) : (failed += 1)),
        () => (failed += 1),
      );
      await wait(PAUSE);
    }
    if (agent) agent.destroy();
  };
  const clients = Array.from({ length: CLIENTS }, (_, nth) => client(nth % 2 ? new http.Agent({ keepAlive: true, maxSockets: 1 }) : false));
  const more = async () => {
    const wanted = answered.length + ANSWERS;
    // Requests tell nobody that they have been answered.
    while (answered.length < wanted && running.isAlive) await wait(PAUSE);
  };
  for (let roll = 1; roll <= ROLLS; roll += 1) {
    await more();
    running.signal('SIGUSR2');
    await running.eventMany(roll, /^command:(?:done|failed)$/, { command: 'restartCluster' });
  }
  await more();
  isOver = true;
  await Promise.all(clients);
  running.signal('SIGTERM');
  await running.exit;
  if (broken.length > 0) throw broken[0];
  return {
    answered: answered.length,
    failed,
    missing: answered.filter((one) => !spans.has(one)).length,
    doubled: [...spans.values()].filter((count) => count > 1).length,
    output: running.output,
  };
}

module.exports = { traced };
