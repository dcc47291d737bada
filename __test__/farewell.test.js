'use strict';

// Connections that cannot move are told in their protocol's own way that their worker leaves.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const http2 = require('node:http2');
const { test } = require('node:test');
const WebSocket = require('ws');
const { freePort } = require('./helpers/http');
const { program } = require('./helpers/program');

function leaving({ port, kind, ws }) {
  const { createServer } = require('drover');
  const kinds = {
    h2() {
      const server = require('node:http2').createServer((request, response) => {
        setTimeout(() => response.end(`${process.pid}`), request.url === '/slow' ? 600 : 0);
      });
      return server;
    },
    ws() {
      const server = require('node:http').createServer();
      const { WebSocketServer } = require(ws);
      const sockets = new WebSocketServer({ server });
      sockets.on('connection', (socket) => socket.on('message', (text) => socket.send(`${process.pid} ${text}`)));
      return server;
    },
  };
  const app = createServer({ app: kinds[kind](), cluster: { enabled: true, config: { workers: 1 } } });
  app.onShutdown(() => console.log('HOOK'));
  app.start(port, '127.0.0.1').then(() => {
    if (!app.isPrimary) return;
    process.on('SIGWINCH', () => app.restartCluster().then(() => console.log('ROLLED')));
    console.log('the cluster is ready');
  });
}

async function serving(t, kind) {
  const port = await freePort();
  const cluster = program(t, leaving, { given: { port, kind, ws: require.resolve('ws') } });
  await cluster.until(/the cluster is ready/);
  return { cluster, port };
}

async function ask(session, path) {
  const stream = session.request({ ':path': path });
  let body = '';
  for await (const piece of stream.setEncoding('utf8')) body += piece;
  return Number(body);
}

test('HTTP/2: GOAWAY, open streams are answered, and the next session meets the new worker', async (t) => {
  const { cluster, port } = await serving(t, 'h2');
  const [old] = cluster.others();
  const session = http2.connect(`http://127.0.0.1:${port}`);
  t.after(() => session.destroy());
  assert.equal(await ask(session, '/'), old);
  const slow = ask(session, '/slow');
  const goaway = once(session, 'goaway');
  const closed = once(session, 'close');
  cluster.signal('SIGWINCH');
  assert.deepEqual((await goaway)[0], http2.constants.NGHTTP2_NO_ERROR);
  assert.equal(await slow, old);
  await closed;
  await cluster.until(/ROLLED/);
  const next = http2.connect(`http://127.0.0.1:${port}`);
  t.after(() => next.destroy());
  assert.notEqual(await ask(next, '/'), old);
});

test('WebSocket: served on for a while, then the hooks run and a close frame says 1001', async (t) => {
  const { cluster, port } = await serving(t, 'ws');
  const socket = new WebSocket(`ws://127.0.0.1:${port}`);
  t.after(() => socket.terminate());
  await once(socket, 'open');
  const [old] = cluster.others();
  cluster.signal('SIGWINCH');
  await cluster.until(/is finishing its requests/);
  socket.send('still there');
  assert.equal(`${(await once(socket, 'message'))[0]}`, `${old} still there`);
  const [code] = await once(socket, 'close');
  assert.equal(code, 1001);
  assert.match(cluster.stdout, /HOOK/);
  await cluster.until(/ROLLED/);
});
