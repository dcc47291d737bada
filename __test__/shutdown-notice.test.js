'use strict';

// Connections that cannot move are told in their protocol's own way that their worker leaves.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const http2 = require('node:http2');
const { test } = require('node:test');
const WebSocket = require('ws');
const { createCertificate } = require('./helpers/certificate');
const { freePort, request } = require('./helpers/http');
const { program } = require('./helpers/program');

function leaving({ port, kind, packages, tls }) {
  const { createServer } = require('drover');
  const webSockets = (server) => {
    const { WebSocketServer } = require(packages.ws);
    const sockets = new WebSocketServer({ server });
    sockets.on('connection', (socket) => socket.on('message', (text) => socket.send(`${process.pid} ${text}`)));
  };
  const kinds = {
    h2() {
      const server = require('node:http2').createServer((request, response) => {
        setTimeout(() => response.end(`${process.pid}`), request.url === '/slow' ? 600 : 0);
      });
      return server;
    },
    ws() {
      const server = require('node:http').createServer((_, response) => response.end(`${process.pid}`));
      webSockets(server);
      return server;
    },
    wss() {
      const server = require('node:https').createServer(tls);
      // Some programs add them later.
      server.once('listening', () => webSockets(server));
      return server;
    },
    socketIo() {
      const server = require('node:http').createServer();
      const io = new (require(packages.io).Server)(server, { transports: ['websocket'] });
      io.on('connection', (socket) => socket.on('echo', (text, answer) => answer(text)));
      return server;
    },
    nobody() {
      return require('node:http').createServer((_, response) => response.end('as ever'));
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
  const packages = { ws: require.resolve('ws'), io: require.resolve('socket.io') };
  const tls = kind === 'wss' ? createCertificate() : null;
  const cluster = program(t, leaving, { given: { port, kind, packages, tls } });
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

for (const kind of ['ws', 'wss']) {
  test(`WebSocket, ${kind}: served on for a while, then the hooks run and a close frame says 1001`, async (t) => {
    const { cluster, port } = await serving(t, kind);
    const socket = new WebSocket(`${kind}://127.0.0.1:${port}`, { rejectUnauthorized: false });
    t.after(() => socket.terminate());
    await once(socket, 'open');
    const [old] = cluster.others();
    cluster.signal('SIGWINCH');
    await cluster.event('worker:draining');
    socket.send('still there');
    assert.equal(`${(await once(socket, 'message'))[0]}`, `${old} still there`);
    const [code] = await once(socket, 'close');
    assert.equal(code, 1001);
    await cluster.until(/HOOK/);
    await cluster.until(/ROLLED/);
  });
}

test('Socket.IO: a close frame says 1001', async (t) => {
  const { cluster, port } = await serving(t, 'socketIo');
  const socket = new WebSocket(`ws://127.0.0.1:${port}/socket.io/?EIO=4&transport=websocket`);
  t.after(() => socket.terminate());
  await once(socket, 'message');
  cluster.signal('SIGWINCH');
  assert.equal((await once(socket, 'close'))[0], 1001);
  await cluster.until(/ROLLED/);
});

test('a server without WebSockets answers a request for one as without drover', async (t) => {
  const { port } = await serving(t, 'nobody');
  const headers = { connection: 'upgrade', upgrade: 'websocket' };
  assert.equal((await request(port, { headers })).body, 'as ever');
});
