'use strict';

// Applications whose `listen` does more than their base's are started by it, so that what it does is done. Each is the
// published package, given to createServer as `app`.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { io } = require('socket.io-client');
const { WebSocket } = require('ws');
const { freePort, keepAlive, request } = require('./helpers/http');
const { findNode } = require('./helpers/nodes');
const { packages } = require('./helpers/packages');
const { folder, program } = require('./helpers/program');
const { run } = require('./helpers/run');

const SERVE = `
  const config = { workers: 2, loadBalancing: { healthAware: false } };
  const cluster = require('drover').createServer({ app, cluster: { enabled: true, config } });
  cluster.start(Number(process.env.PORT), '127.0.0.1').then(() => cluster.isPrimary && console.log('the cluster is ready'));`;

const SERVICE = `
  app.use('messages', {
    async find() { return ['first']; },
    async create(data) { return data; },
    async setup() { console.log('SET UP'); },
  });`;

const FEATHERS = { '@feathersjs/feathers': '5.0.50', '@feathersjs/socketio': '5.0.50' };

/** What each program is, and what its own `listen` makes work. */
const applications = {
  'Feathers on Koa': {
    versions: { ...FEATHERS, '@feathersjs/koa': '5.0.50' },
    main: `
      const { feathers } = require('@feathersjs/feathers');
      const { bodyParser, errorHandler, koa, rest } = require('@feathersjs/koa');
      const socketio = require('@feathersjs/socketio');
      const app = koa(feathers());
      app.use(errorHandler());
      app.use(bodyParser());
      app.configure(rest());
      app.configure(socketio());
      ${SERVICE}`,
    works: feathers,
  },
  'Feathers on Express': {
    versions: { ...FEATHERS, '@feathersjs/express': '5.0.50' },
    main: `
      const { feathers } = require('@feathersjs/feathers');
      const express = require('@feathersjs/express');
      const socketio = require('@feathersjs/socketio');
      const app = express.default(feathers());
      app.use(express.json());
      app.configure(express.rest());
      app.configure(socketio());
      ${SERVICE}`,
    works: feathers,
  },
  'express-ws': {
    versions: { express: '4.22.1', 'express-ws': '5.0.2' },
    main: `
      const app = require('express')();
      require('express-ws')(app);
      app.get('/', (request, response) => response.send('served'));
      app.ws('/echo', (socket) => socket.on('message', (text) => socket.send(String(text))));`,
    async works(t, port) {
      assert.equal((await request(port)).body, 'served');
      const socket = new WebSocket(`ws://127.0.0.1:${port}/echo`);
      t.after(() => socket.terminate());
      await once(socket, 'open');
      socket.send('hello');
      assert.equal(String((await once(socket, 'message'))[0]), 'hello');
    },
  },
  Polka: {
    versions: { polka: '0.5.2' },
    main: `
      const app = require('polka')();
      app.get('/', (request, response) => response.end('served'));`,
    async works(_, port) {
      assert.equal((await request(port)).body, 'served');
    },
  },
  restify: {
    node: 22,
    versions: { restify: '12.0.0' },
    main: `
      const app = require('restify').createServer();
      app.get('/', (request, response, next) => {
        response.sendRaw('served');
        next();
      });`,
    async works(_, port) {
      assert.equal((await request(port)).body, 'served');
    },
  },
};

/** Services over HTTP and over Socket.IO, which a Feathers application opens when it listens. */
async function feathers(t, port) {
  assert.deepEqual((await request(port, { path: '/messages' })).json(), ['first']);
  const socket = io(`http://127.0.0.1:${port}`, { transports: ['websocket'], reconnection: false });
  t.after(() => socket.close());
  await once(socket, 'connect');
  const answer = new Promise((resolve) => {
    socket.emit('create', 'messages', { text: 'hello' }, (...answered) => resolve(answered));
  });
  assert.deepEqual(await answer, [null, { text: 'hello' }]);
}

/** Starts a program in a folder that has its packages. */
async function started(t, { versions, main, node: major }, port) {
  const installed = await packages(t, versions);
  if (installed === null) return null;
  const place = path.join(folder(t), 'app');
  fs.mkdirSync(place);
  fs.symlinkSync(path.join(installed, 'node_modules'), path.join(place, 'node_modules'));
  const file = path.join(place, 'server.js');
  fs.writeFileSync(file, `${main}\n${SERVE}\n`);
  const node = major === undefined ? process.execPath : (await findNode(major)).path;
  const cluster = run(t, file, { node, cwd: place, env: { PORT: String(port) } });
  await cluster.until(/the cluster is ready/);
  return cluster;
}

for (const [name, application] of Object.entries(applications)) {
  test(`${name} is started by its own listen, and a roll loses nothing of it`, async (t) => {
    const port = await freePort();
    const cluster = await started(t, application, port);
    if (cluster === null) return;
    if (application.main.includes(SERVICE)) await cluster.untilMany(2, /SET UP/);
    await application.works(t, port);
    const client = keepAlive(port);
    t.after(() => client.close());
    let failed = 0;
    let isOver = false;
    const load = (async () => {
      while (!isOver) await client.request({ path: '/messages' }).catch(() => (failed += 1));
    })();
    cluster.signal('SIGUSR2');
    await cluster.event('command:done', { command: 'restartCluster' });
    isOver = true;
    await load;
    assert.equal(failed, 0, cluster.output);
    if (application.main.includes(SERVICE)) await cluster.untilMany(4, /SET UP/);
    await application.works(t, port);
    assert.equal((await cluster.stop()).code, 0, cluster.output);
  });
}

test('options of server are those of the server that a listen of its own makes', async (t) => {
  const port = await freePort();
  const cluster = program(
    t,
    ({ port, express: file }) => {
      const express = require(file);
      const app = express();
      const { listen } = app;
      // As a framework on Express does.
      app.listen = function (...args) {
        const server = Reflect.apply(listen, this, args);
        app.get('/', (_, response) => response.json({ keepAliveTimeout: server.keepAliveTimeout }));
        return server;
      };
      const { createServer } = require('drover');
      const cluster = createServer({ app, server: { keepAliveTimeout: 12_345 }, cluster: { enabled: true, config: { workers: 1 } } });
      cluster.start(port, '127.0.0.1').then(() => cluster.isPrimary && console.log('the cluster is ready'));
    },
    { given: { port, express: require.resolve('express') } },
  );
  await cluster.until(/the cluster is ready/);
  assert.deepEqual((await request(port)).json(), { keepAliveTimeout: 12_345 });
});

/** Starts an application of the test's own in one process and tells how that ended. */
function startsAlone(t, make) {
  return program(
    t,
    `'use strict';
    const app = (${make})();
    const server = require('drover').createServer({ app, cluster: { enabled: false } });
    (async () => server.start(0, '127.0.0.1'))().then(
      () => { console.log('STARTED', server.address() !== null); return server.close(); },
      (error) => console.log('REJECTED', error.name, error.code, error.message),
    );\n`,
  );
}

test('a listen of its own that fails is a start that fails with its error', async (t) => {
  const cluster = startsAlone(t, () => {
    const app = () => {};
    app.listen = async (...args) => {
      const server = require('node:http').createServer(app).listen(...args);
      await require('node:events').once(server, 'listening');
      server.close();
      throw new RangeError('its database is away');
    };
    return app;
  });
  await cluster.until(/REJECTED RangeError undefined its database is away/);
});

test('a listen of its own may open its server later, and be known by what it returns', async (t) => {
  const cluster = startsAlone(t, () => ({
    async listen(...args) {
      await null;
      return require('node:http').createServer().listen(...args);
    },
  }));
  await cluster.until(/STARTED true/);
  assert.equal((await cluster.exit).code, 0, cluster.output);
});

for (const [what, make, says] of [
  ['an object without a listen', () => ({}), /REJECTED ConfigurationError CONFIGURATION_INVALID app must be a request listener/],
  ['a listen that opens nothing', () => ({ listen() {} }), /REJECTED ConfigurationError CONFIGURATION_INVALID The listen\(\) of app has started no server/],
]) {
  test(`${what} is refused`, async (t) => {
    await startsAlone(t, make).until(says);
  });
}
