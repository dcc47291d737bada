'use strict';

// A program that can be overloaded, and its clients.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const tls = require('node:tls');
const { freePort, request } = require('./http');
const { write } = require('./program');
const { run } = require('./run');

/** `targetDelay`, milliseconds. */
const TARGET = 20;

/**
 * GET /work?ms= blocks the event loop, /block?ms= does so after its response, after so many milliseconds more with `in`;
 * any path with `later` responds so much later; /checked is logged; responses say which worker responds. /vital is exempt. A WebSocket handshake is
 * accepted and ended. `config`: of the cluster, `more`: of loadBalancing.
 */
function app({ port, workers, admission, more, config, kind, certificate }) {
  const fs = require('node:fs');
  const { createServer } = require('drover');
  const block = (ms) => {
    for (const end = performance.now() + Number(ms); performance.now() < end; );
  };
  let handled = 0;
  const handler = (request, response) => {
    handled += 1;
    const { pathname, searchParams } = new URL(request.url, 'http://localhost');
    const [ms, later] = ['ms', 'later'].map((name) => Number(searchParams.get(name)));
    if (pathname === '/work') block(ms);
    if (pathname === '/checked') console.log('CHECKED');
    const done = () => pathname === '/block' && (searchParams.has('in') ? setTimeout(block, searchParams.get('in'), ms) : setImmediate(block, ms));
    const end = () => response.end(`${process.env.WORKER_ID} ${handled} ${request.url}`, done);
    if (later > 0) setTimeout(end, later);
    else end();
  };
  const server = require(`node:${kind}`).createServer(...(kind === 'http' ? [] : [certificate]), handler);
  server.keepAliveTimeout = 60_000;
  server.on('upgrade', (_, socket) => socket.on('error', () => {}).end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: Upgrade\r\n\r\n'));
  const cluster = createServer({
    app: server,
    cluster: { enabled: true, config: { workers, loadBalancing: { admission, ...more }, monitoring: { enabled: false }, ...config } },
  });
  cluster.start(port, '127.0.0.1').then(() => {
    if (!cluster.isPrimary) return;
    console.log('READY');
    process.on('SIGUSR2', async () => {
      const [verb, argument] = JSON.parse(fs.readFileSync(`${__filename}.order`, 'utf8'));
      const call = async () => cluster[verb](argument);
      const result = await call().catch(({ code, message }) => ({ code, message }));
      console.log(`DONE ${JSON.stringify(result ?? null)}`);
    });
  });
}

/** Starts the program; `given`: its arguments. Resolves to { port, run, order }. */
async function start(t, given) {
  const port = await freePort();
  const exempt = ['/vital', '/health', '/ready'];
  const all = { port, workers: 2, kind: 'http', certificate: {}, admission: { targetDelay: TARGET, exempt }, ...given };
  const file = write(t, app, { given: all });
  const running = run(t, file);
  await running.until(/READY/);
  let orders = 0;
  /** Calls a method of the primary's program; resolves to its result. */
  const order = async (verb, argument) => {
    fs.writeFileSync(`${file}.order`, JSON.stringify([verb, argument]));
    running.signal('SIGUSR2');
    orders += 1;
    const all = await running.untilMany(orders, /^DONE (.*)$/m);
    return JSON.parse(all.at(-1)[1]);
  };
  const metrics = async () => {
    const { refusedConnections, refusedRequests, totalRequests, totalErrors } = await order('getClusterMetrics');
    return { refusedConnections, refusedRequests, totalRequests, totalErrors };
  };
  return { port, run: running, order, metrics };
}

/** Blocks the loops of both workers: each takes the next connection of the round robin. */
const blockAll = (port, ms, options) => Promise.all([0, 1].map(() => request(port, { path: `/block?ms=${ms}`, ...options })));

/** Requests new connections until one is refused; resolves to its response, and how long it took. */
async function refusal(port, options) {
  for (;;) {
    const since = performance.now();
    // Connections that no worker reads are refused once the overload is known.
    const response = await request(port, options);
    if (response.status === 503) return { ...response, ms: performance.now() - since };
  }
}

/** As many clients as given, each with one request after the other, until `until`. */
async function clients(count, port, path, until, seen) {
  const client = async () => {
    while (!until()) {
      const { status } = await request(port, { path });
      seen[status] = (seen[status] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: count }, client));
}

/** Opens a connection. */
const connect = (port, isSecure) =>
  isSecure ? tls.connect({ host: '127.0.0.1', port, rejectUnauthorized: false }) : net.connect(port, '127.0.0.1');

/** The responses in a text, each { status, head, body }, and what follows them. */
function responsesIn(text) {
  const responses = [];
  for (;;) {
    const head = text.match(/^HTTP\/1\.[01] (\d+)[^]*?\r\n\r\n/)?.[0];
    if (head === undefined) return { responses, rest: text };
    const end = head.length + Number(head.match(/content-length: (\d+)/i)?.[1] ?? 0);
    if (text.length < end) return { responses, rest: text };
    responses.push({ status: Number(head.split(' ')[1]), head, body: text.slice(head.length, end) });
    text = text.slice(end);
  }
}

/** Asserts that drover has refused the request. */
function assertRefused({ status, head, body }) {
  assert.equal(status, 503);
  assert.match(head, /^retry-after: 1\r$/im);
  assert.equal(body, 'Service Unavailable\n');
}

/** A connection on which requests are sent as text. */
class RawClient {
  #text = '';
  #look = () => {};

  constructor(port, isSecure = false) {
    this.socket = connect(port, isSecure).setEncoding('utf8');
    this.socket.setTimeout(60_000, () => this.socket.destroy(new Error('silent for a minute')));
    this.socket.on('data', (piece) => {
      this.#text += piece;
      this.#look();
    });
    /** Rejects with its error. */
    this.closed = once(this.socket, 'close');
    this.closed.catch(() => {});
  }

  /** Sends the text; resolves to that many responses, to fewer if the connection ends before. */
  async ask(text, count = 1) {
    this.socket.write(text);
    const responses = [];
    const all = new Promise((resolve) => {
      this.#look = () => {
        const found = responsesIn(this.#text);
        this.#text = found.rest;
        responses.push(...found.responses);
        if (responses.length >= count) resolve();
      };
      this.#look();
    });
    await Promise.race([all, this.closed]);
    return responses;
  }
}

/** A client that sends the next request on its connection when the last one is answered, until `done`. */
class KeptClient {
  #isDone = false;

  constructor(port, path, onResponse, isSecure = false) {
    this.client = new RawClient(port, isSecure);
    this.over = this.#run(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`, onResponse);
  }

  async #run(text, onResponse) {
    while (!this.#isDone) {
      const [response] = await this.client.ask(text);
      onResponse(response);
      if (/^connection: close\r$/im.test(response.head)) break;
    }
    this.client.socket.end();
    await this.client.closed;
  }

  done() {
    this.#isDone = true;
    return this.over;
  }
}

/** Keeps the only worker busy with requests on so many connections, until the returned function is called. */
function saturate(port, count = 16, isSecure = false) {
  const seen = {};
  const all = Array.from({ length: count }, () => new KeptClient(port, '/work?ms=10', ({ status }) => (seen[status] = (seen[status] ?? 0) + 1), isSecure));
  return { seen, end: () => Promise.all(all.map((client) => client.done())) };
}

module.exports = { KeptClient, RawClient, TARGET, assertRefused, blockAll, clients, connect, refusal, saturate, start };
