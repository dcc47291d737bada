'use strict';

// What a program sends is what its client reads, byte for byte, in a process of its own, under node:cluster and in a
// worker of drover's. Only drover's own header lines are more.

const assert = require('node:assert/strict');
const net = require('node:net');
const { test } = require('node:test');
const { freePort } = require('./helpers/http');
const { program } = require('./helpers/program');

function serve({ port, runner, loadBalancing }) {
  const http = require('node:http');
  const pair = ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2'];
  const routes = {
    '/list': (response) => response.writeHead(200, pair).end('x'),
    '/nested': (response) => response.writeHead(200, [['Set-Cookie', 'a=1'], ['Set-Cookie', 'b=2']]).end('x'),
    '/object': (response) => response.writeHead(200, { 'set-cookie': ['a=1', 'b=2'], 'X-CaSe': 'Kept' }).end('x'),
    '/list-and-set': (response) => {
      response.setHeader('X-Own', '1');
      response.writeHead(200, 'Fine', pair).end('x');
    },
    '/order': (response) => {
      response.setHeader('B', '2');
      response.setHeader('a', ['1', '3']);
      response.appendHeader('A', '4');
      response.write('x');
      response.end('y');
    },
    '/seen': (response) => {
      const seen = () => [
        response.getHeaders(),
        response.getHeaderNames(),
        response.getRawHeaderNames?.(),
        response.headersSent,
        response.hasHeader('x-worker-id'),
        response.getHeader('set-cookie') ?? null,
      ];
      const before = seen();
      response.setHeader('X-Own', '1');
      response.write('x');
      response.end(JSON.stringify([before, seen()]));
    },
    '/no-date': (response) => {
      response.sendDate = false;
      response.end('x');
    },
    '/own-date': (response) => response.writeHead(200, { date: 'yesterday' }).end('x'),
    '/no-content': (response) => response.writeHead(204).end(),
    '/not-modified': (response) => response.writeHead(304, ['ETag', '"1"']).end(),
    '/chunks': (response) => {
      response.writeHead(200, { Trailer: 'X-Sum' });
      response.write('one');
      response.addTrailers({ 'X-Sum': '1' });
      response.end('two');
    },
    '/flushed': (response) => {
      response.setHeader('Content-Length', '2');
      response.flushHeaders();
      response.end('xy');
    },
    '/informed': (response) => {
      response.writeProcessing();
      response.writeEarlyHints({ link: '</a.css>; rel=preload' });
      response.end('x');
    },
    '/strict': (response) => {
      response.strictContentLength = true;
      response.writeHead(200, { 'Content-Length': 1 });
      let code = 'none';
      try {
        response.write('too long');
      } catch (error) {
        ({ code } = error);
      }
      console.log(`STRICT ${code}`);
      response.end('x');
    },
    '/twice': (response) => {
      response.writeHead(200, { 'X-First': '1' });
      try {
        response.writeHead(201);
      } catch (error) {
        response.end(error.code);
      }
    },
    '/late': (response) => {
      response.write('x');
      try {
        response.setHeader('X-Late', '1');
      } catch (error) {
        response.end(error.code);
      }
    },
    '/wrapped': (response) => {
      const { writeHead } = response;
      response.writeHead = function (...args) {
        this.setHeader('X-Wrapped', String(args.length));
        return Reflect.apply(writeHead, this, args);
      };
      response.end('x');
    },
    '/close': (response) => response.writeHead(200, { Connection: 'close' }).end('x'),
    '/own-names': (response) => response.writeHead(200, { 'x-WORKER-id': 'mine' }).end('x'),
    '/bad': (response) => {
      try {
        response.writeHead(200, ['only one']);
      } catch (error) {
        response.statusCode = 500;
        response.end(error.code);
      }
    },
  };
  const slow = {
    // Answered in the wrong order: the later one's headers are made before its turn.
    '/first': (response) => setTimeout(() => response.writeHead(200, pair).end('first'), 50),
    '/second': (response) => response.writeHead(200, pair).end('second'),
  };
  const server = http.createServer((request, response) => ({ ...routes, ...slow })[request.url](response));
  const listen = () => server.listen(port, '127.0.0.1', () => console.log(`SERVING ${Object.keys(routes).join()} END`));
  if (runner === 'node:cluster') {
    const cluster = require('node:cluster');
    if (cluster.isPrimary) return void cluster.fork();
  } else if (runner === 'drover') {
    const { createServer } = require('drover');
    const app = createServer({
      app: server,
      exposeWorkerHeaders: true,
      cluster: { enabled: true, config: { workers: 1, loadBalancing } },
    });
    return void app.start(port, '127.0.0.1').then(() => app.isWorker && console.log(`SERVING ${Object.keys(routes).join()} END`));
  }
  listen();
}

const ask = (path, more = '') => `GET ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;

/** What a client reads until the server closes. */
async function exchange(port, text) {
  const socket = net.connect(port, '127.0.0.1');
  socket.write(text);
  let read = '';
  for await (const piece of socket.setEncoding('latin1')) read += piece;
  return read.replace(/\r\nDate: [^\r]+GMT/g, '\r\nDate: now');
}

/** The lines that drover adds, in any order. */
const OURS = /\r\n(?:X-Worker-ID: 0|X-Worker-PID: \d+|Set-Cookie: drover_affinity=[^\r]+)(?=\r\n)/g;

/** What each runner's program answers to the same requests. */
async function answersOf(t, runner, loadBalancing) {
  const port = await freePort();
  const running = program(t, serve, { given: { port, runner, loadBalancing } });
  const [, list] = await running.until(/SERVING (.*) END/);
  const requests = list.split(',').map((path) => [path, ask(path, 'Connection: close\r\n')]);
  requests.push(
    ['keep-alive', ask('/list') + ask('/object') + ask('/list', 'Connection: close\r\n')],
    ['pipelined', ask('/first') + ask('/second') + ask('/list', 'Connection: close\r\n')],
    ['HTTP/1.0', 'GET /list HTTP/1.0\r\n\r\n'],
    ['HEAD', ask('/list', 'Connection: close\r\n').replace('GET', 'HEAD')],
    ['malformed', 'no request at all\r\n\r\n'],
  );
  const answers = new Map();
  for (const [name, text] of requests) answers.set(name, await exchange(port, text));
  return { answers, strict: (await running.until(/STRICT (\S+)/))[1] };
}

for (const [what, loadBalancing] of [
  ['the worker’s headers', undefined],
  ['the worker’s headers and an affinity cookie', { sessionAffinity: 'cookie' }],
]) {
  test(`${what} are additional lines and change nothing else of a response`, async (t) => {
    const plain = await answersOf(t, 'process');
    const clustered = await answersOf(t, 'node:cluster');
    const drover = await answersOf(t, 'drover', loadBalancing);
    assert.deepEqual(clustered, plain, 'the expectation holds for node:cluster');
    assert.equal(drover.strict, plain.strict);
    for (const [name, expected] of plain.answers) {
      const answer = drover.answers.get(name);
      assert.equal(answer.replace(OURS, ''), expected, name);
      if (name === 'malformed') continue;
      const responses = answer.match(/HTTP\/1\.1 (?!10)\d/g).length;
      const added = answer.match(OURS) ?? [];
      const each = name === '/own-names' ? 1 : 2;
      assert.equal(added.length, responses * (each + (loadBalancing ? 1 : 0)), name);
    }
    assert.match(drover.answers.get('/own-names'), /x-WORKER-id: mine/, 'the program’s own header is the only one of its name');
  });
}
