'use strict';

// The last response of a connection: in one packet with the FIN, and otherwise exactly what Node does.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const net = require('node:net');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { noNetworks, ownNetwork, program } = require('./helpers/program');

const HUGE = 8 * 1024 * 1024;

function answers({ port, host = '127.0.0.1' }) {
  const http = require('node:http');
  const { createServer } = require('drover');
  const routes = {
    '/short': (response) => response.end('short'),
    '/huge': (response) => response.end('x'.repeat(8 * 1024 * 1024)),
    '/streamed': (response) => {
      response.write('first ');
      setTimeout(() => response.end('last'), 50);
    },
    '/later': (response) => setTimeout(() => response.end('later'), 100),
    '/held': (response) => response.write('first '),
    '/events': (response) => {
      const heard = [];
      for (const name of ['finish', 'close']) response.once(name, () => heard.push(name));
      response.once('close', () => console.log(`HEARD ${heard.join()}`));
      response.end('x', () => heard.push('callback'));
    },
    '/destroyed': (response) => {
      response.socket.once('finish', () => console.log('the connection was finished'));
      response.end('x');
      response.socket.destroy();
    },
    '/twice': (response) => {
      response.end('once');
      response.end('twice', (error) => console.log(`TWICE ${error.code}`));
    },
    '/throws': (response) => {
      try {
        response.end({});
      } catch (error) {
        response.end(error.code);
      }
    },
  };
  const app = createServer({
    exposeWorkerHeaders: true,
    app: http.createServer((request, response) => routes[request.url](response)),
    cluster: { enabled: true, config: { workers: 1 } },
  });
  return app.start(port, host).then(() => app.isPrimary && console.log('serving'));
}

/** What a client reads until the end of a connection on which it wrote `text`. */
async function exchange(port, text) {
  const socket = net.connect(port, '127.0.0.1');
  socket.write(text);
  let read = '';
  for await (const piece of socket.setEncoding('latin1')) read += piece;
  return read;
}

const last = (path, more = '') => `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${more}\r\n`;
const bodyOf = (text) => text.slice(text.indexOf('\r\n\r\n') + 4);

async function serving(t) {
  const port = await freePort();
  const cluster = program(t, answers, { given: { port } });
  await cluster.until(/serving/);
  return { cluster, port };
}

test('a last response arrives completely, whatever its length and encoding', async (t) => {
  const { port } = await serving(t);
  assert.equal(bodyOf(await exchange(port, last('/short'))), 'short');
  assert.equal(bodyOf(await exchange(port, last('/huge'))).length, HUGE);
  assert.match(await exchange(port, last('/streamed')), /first .*last/s);
  assert.equal(bodyOf(await exchange(port, `GET /short HTTP/1.0\r\n\r\n`)), 'short');
  assert.equal(bodyOf(await exchange(port, `HEAD /short HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)), '');
  assert.equal(bodyOf(await exchange(port, last('/twice'))), 'once');
  assert.equal(bodyOf(await exchange(port, last('/throws'))), 'ERR_INVALID_ARG_TYPE');
  assert.equal((await request(port, { path: '/short', headers: { connection: 'close' } })).body, 'short');
});

test('pipelined requests before the last one are answered too', async (t) => {
  const { port } = await serving(t);
  const read = await exchange(port, `GET /short HTTP/1.1\r\nHost: x\r\n\r\n${last('/short')}`);
  assert.equal(read.match(/\r\n\r\nshort/g).length, 2);
});

test('pipelined requests are answered in order, even if a later one is done first', async (t) => {
  const { port } = await serving(t);
  const read = await exchange(port, `GET /later HTTP/1.1\r\nHost: x\r\n\r\n${last('/short')}`);
  assert.match(read, /later[^]*short$/);
});

test('a chunk of an unfinished last response is not held back', async (t) => {
  const { port } = await serving(t);
  const socket = net.connect(port, '127.0.0.1').setEncoding('latin1');
  t.after(() => socket.destroy());
  socket.write(last('/held'));
  let read = '';
  while (!read.includes('first')) read += (await once(socket, 'data'))[0];
});

test('events and callbacks of a last response are the same as in Node', async (t) => {
  const { cluster, port } = await serving(t);
  await exchange(port, last('/events'));
  await cluster.until(/HEARD callback,finish,close|HEARD finish,callback,close/);
  await exchange(port, last('/twice'));
  await cluster.until(/TWICE ERR_STREAM_(ALREADY_FINISHED|WRITE_AFTER_END)/);
});

test('a connection that the application destroys after its answer harms no other', async (t) => {
  const { port } = await serving(t);
  const ask = (path) => exchange(port, last(path)).catch(() => '');
  const all = await Promise.all(Array.from({ length: 200 }, (_, count) => ask(count % 2 ? '/short' : '/destroyed')));
  for (let count = 1; count < all.length; count += 2) assert.equal(bodyOf(all[count]), 'short');
});

/** In a network of its own: how many segments a visit takes, of drover and of a bare server. */
function segments() {
  const fs = require('node:fs');
  const http = require('node:http');
  const { createServer } = require('drover');
  const VISITS = 20;
  const sent = () => {
    const [names, figures] = fs
      .readFileSync('/proc/net/snmp', 'latin1')
      .match(/^Tcp:.*$/gm)
      .map((row) => row.split(' '));
    return Number(figures[names.indexOf('OutSegs')]);
  };
  const visit = (port) =>
    new Promise((resolve, reject) => {
      const asked = http.get({ host: '127.0.0.1', port, agent: false }, (response) => {
        response.resume();
        response.socket.once('close', resolve);
      });
      asked.on('error', reject);
    });
  const measure = async (port) => {
    const before = sent();
    for (let count = 0; count < VISITS; count += 1) await visit(port);
    return (sent() - before) / VISITS;
  };
  const handler = (_, response) => response.end('short');
  const app = createServer({ app: http.createServer(handler), cluster: { enabled: true, config: { workers: 1 } } });
  app.start(3000, '127.0.0.1').then(() => {
    if (!app.isPrimary) return;
    const bare = http.createServer(handler).listen(3001, '127.0.0.1', async () => {
      console.log(`SEGMENTS ${JSON.stringify({ drover: await measure(3000), bare: await measure(3001) })}`);
      bare.close();
    });
  });
}

test('a short last response and the end of its connection are one segment', { skip: noNetworks }, async (t) => {
  const cluster = program(t, segments, ownNetwork());
  const [, figures] = await cluster.until(/SEGMENTS (.*)/);
  const { drover, bare } = JSON.parse(figures);
  assert.ok(drover <= bare - 0.8, figures);
});
