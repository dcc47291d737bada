'use strict';

// The kinds of servers that are tested. `ask(place)` sends a request and resolves to the data of
// __test__/fixtures/whoami.js; place: { port, secondPort, socketPath }.

const path = require('node:path');
const { tlsEnvironment } = require('./certificate');
const { datagram, freePort, h2, request, tcp, websocket } = require('./http');
const { folder } = require('./program');

const apps = path.join(__dirname, '..', 'fixtures', 'apps');

const overHttp = async ({ port }) => (await request(port)).json();

async function overTcp({ port }) {
  const connection = await tcp(port);
  const answer = JSON.parse(await connection.line());
  connection.write('echo\n');
  const echo = await connection.line();
  connection.close();
  return { ...answer, echo };
}

async function overWebsocket({ port }) {
  const connection = await websocket(port);
  const answer = JSON.parse(await connection.message());
  connection.send('echo');
  const echo = await connection.message();
  connection.close();
  return { ...answer, echo };
}

const overSocketIo =
  (transport) =>
  async ({ port }) => {
    const { io } = require('socket.io-client');
    const client = io(`http://127.0.0.1:${port}`, { transports: [transport], reconnection: false, forceNew: true });
    try {
      const answer = await new Promise((resolve, reject) => {
        client.once('whoami', resolve);
        client.once('connect_error', reject);
        client.once('disconnect', reject);
      });
      const echo = await client.timeout(20_000).emitWithAck('echo', 'echo');
      return { ...answer, echo };
    } finally {
      // The client closes with a separate request: a pending poll would delay the server's stop.
      const { engine } = client.io;
      const closed = new Promise((resolve) => (engine?.readyState === 'open' ? engine.once('close', resolve) : resolve()));
      client.disconnect();
      await closed;
    }
  };

/** `ready`: what the program prints when it serves; `tls`: it needs a certificate in its environment. */
const kind = (name, ask, more) => ({
  name,
  script: path.join(apps, `${name}.js`),
  says: name,
  ready: new RegExp(`${name} is listening`),
  ask,
  ...more,
});

const kinds = [
  kind('http', overHttp),
  kind('https', async ({ port }) => (await request(port, { secure: true })).json(), { tls: true }),
  kind('http2-secure', async ({ port }) => (await h2(port, { secure: true })).json(), { tls: true }),
  kind('http2-clear', async ({ port }) => (await h2(port)).json()),
  kind('net', overTcp, { echoes: true }),
  kind('ws', overWebsocket, { echoes: true }),
  kind('express', overHttp),
  kind('fastify', overHttp),
  kind('koa', overHttp),
  kind('hono', overHttp),
  kind('nest', overHttp),
  kind('socket.io', overSocketIo('websocket'), { echoes: true }),
  // The handshake's connection may be closed by the time its socket is read.
  kind('socket.io', overSocketIo('polling'), {
    name: 'socket.io, polling',
    echoes: true,
    sticky: true,
    hasPorts: false,
  }),
  // The workers share one socket: the worker that wakes first reads the datagram.
  kind('dgram', async ({ port }) => JSON.parse(await datagram(port)), { evenly: false }),
  kind('unix-socket', async ({ socketPath }) => (await request(socketPath)).json(), { hasPorts: false }),
  kind('two-ports', overHttp, { says: 'two-ports, public' }),
  kind('two-ports', async ({ secondPort }) => (await request(secondPort)).json(), {
    name: 'two-ports, the second',
    says: 'two-ports, operators',
    ready: /two-ports is listening twice/,
  }),
  kind('port-zero', overHttp, { ready: /port-zero is listening on port (\d+)/ }),
  kind('esm', overHttp, { script: path.join(apps, 'esm.mjs') }),
];

/** The addresses for one test, and the environment variables that pass them to a program of this kind. */
async function placeFor(t, kind) {
  const place = {
    port: await freePort(),
    secondPort: await freePort(),
    socketPath: path.join(folder(t), 'app.sock'),
  };
  const env = {
    PORT: String(place.port),
    SECOND_PORT: String(place.secondPort),
    SOCKET_PATH: place.socketPath,
    ...(kind.tls ? tlsEnvironment(t) : {}),
  };
  return { place, env };
}

module.exports = { kinds, overHttp, overTcp, overWebsocket, placeFor };
