'use strict';

// Servers that a program makes itself around its clustered application are served by the workers; the primary holds
// their ports. What has nothing to do with the application stays the primary's own.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const net = require('node:net');
const { test } = require('node:test');
const { tlsEnvironment } = require('./helpers/certificate');
const { freePort, h2, request, websocket } = require('./helpers/http');
const { program } = require('./helpers/program');
const { isBun } = require('./helpers/runtime');

const environments = { 'a cluster': { CLUSTER_ENABLED: 'true' }, 'one process': { CLUSTER_ENABLED: 'false' } };
const clustered = environments['a cluster'];

/** Who answers at a port, over some connections. */
async function answers(ask, visits = 6) {
  const seen = new Set();
  for (let visit = 0; visit < visits; visit += 1) seen.add(await ask());
  return [...seen].map(Number);
}

/** All of them workers, or this one process. */
function served(where, run, pids) {
  const workers = run.others();
  if (where === 'one process') assert.deepEqual(pids, [run.pid]);
  else assert.ok(pids.length > 0 && pids.every((pid) => workers.includes(pid) && pid !== run.pid), `${pids} of ${workers}`);
}

for (const [where, env] of Object.entries(environments)) {
  test(`in ${where} http.createServer(app) is served, and is a server of Node's in every way`, async (t) => {
    const port = await freePort();
    const run = program(
      t,
      ({ port }) => {
        const http = require('node:http');
        const app = require('drover').createServer({ cluster: { workers: 2 } });
        app.get('/', (_, response) => response.send(`${process.pid}`));
        const server = http.createServer(app);
        server.on('close', () => console.log(`CLOSE ${server.listening} ${server.address()}`));
        server.listen(port, '127.0.0.1', function callback() {
          const { address, family, port: at } = server.address();
          console.log(`LISTENS ${this === server} ${server.listening} ${address} ${family} ${at === port}`);
          if (app.isWorker) return;
          try {
            server.listen(port);
          } catch ({ code }) {
            console.log(`TWICE ${code}`);
          }
          process.once('SIGUSR1', () => server.close((error) => console.log(`CLOSED ${error}`)));
        });
      },
      { given: { port }, env },
    );
    await run.untilMany(where === 'a cluster' ? 3 : 1, /LISTENS true true 127\.0\.0\.1 IPv4 true/);
    await run.until(/TWICE ERR_SERVER_ALREADY_LISTEN/);
    served(where, run, await answers(async () => (await request(port)).body));
    run.signal('SIGUSR1');
    assert.deepEqual(await run.exit, { code: 0, signal: null }, run.output);
    await run.until(/CLOSED undefined/);
    await run.until(/CLOSE false null/);
    await run.gone();
  });

  test(`in ${where} a taken port of an own server is Node's error`, async (t) => {
    const holder = net.createServer().listen(0, '127.0.0.1');
    t.after(() => holder.close());
    await once(holder, 'listening');
    const { port } = holder.address();
    const run = program(
      t,
      ({ port }) => {
        const app = require('drover').createServer({ cluster: { workers: 2 } });
        const server = require('node:http').createServer(app);
        server.on('error', (error) => console.log(`ERROR ${JSON.stringify(error)} ${error.message} ${server.listening}`));
        server.listen(port, '127.0.0.1', () => console.log('LISTENS'));
      },
      { given: { port }, env },
    );
    const [, told] = await run.until(/ERROR (.*)/);
    const expected = { code: 'EADDRINUSE', errno: -98, syscall: 'listen', address: '127.0.0.1', port };
    // Without a cluster the error is the runtime's own.
    if (isBun && where === 'one process') assert.match(told, /^{"code":"EADDRINUSE","syscall":"listen".* false$/);
    else assert.equal(told, `${JSON.stringify(expected)} listen EADDRINUSE: address already in use 127.0.0.1:${port} false`);
    await run.exit;
    assert.doesNotMatch(run.stdout, /LISTENS/);
    await run.gone();
  });

  test(`in ${where} Socket.IO and ws have the server that a program makes`, async (t) => {
    const [port, other] = [await freePort(), await freePort()];
    const run = program(
      t,
      ({ port, other, socketIo, ws }) => {
        const http = require('node:http');
        const { createServer } = require('drover');
        const { WebSocketServer } = require(ws);
        const { Server } = require(socketIo);
        const app = createServer({ cluster: { workers: 2 } });
        app.get('/', (_, response) => response.send(`${process.pid}`));
        // engine.io takes the listener of the application away and calls it itself.
        const first = http.createServer(app);
        new Server(first, { transports: ['websocket'] }).on('connection', (socket) => socket.emit('pid', process.pid));
        first.listen(port, '127.0.0.1', () => console.log('FIRST'));
        const second = http.createServer(app);
        new WebSocketServer({ server: second }).on('connection', (socket) => socket.send(process.pid));
        second.listen(other, '127.0.0.1', () => console.log('SECOND'));
      },
      { given: { port, other, socketIo: require.resolve('socket.io'), ws: require.resolve('ws') }, env },
    );
    const count = where === 'a cluster' ? 3 : 1;
    await run.untilMany(count, /FIRST/);
    await run.untilMany(count, /SECOND/);
    const overSocketIo = async () => {
      const { io } = require('socket.io-client');
      const client = io(`http://127.0.0.1:${port}`, { transports: ['websocket'], reconnection: false, forceNew: true });
      const pid = await new Promise((resolve, reject) => client.once('pid', resolve).once('connect_error', reject));
      client.disconnect();
      return pid;
    };
    const overWs = async () => {
      const socket = await websocket(other);
      const pid = await socket.message();
      socket.close();
      return pid;
    };
    for (const ask of [overSocketIo, overWs]) served(where, run, await answers(ask, 4));
    for (const at of [port, other]) served(where, run, await answers(async () => (await request(at)).body, 4));
    assert.doesNotMatch(run.output, /The primary itself answers/);
  });

  test(`in ${where} an application has several ports, over TLS too`, async (t) => {
    const [port, secure, third] = [await freePort(), await freePort(), await freePort()];
    const run = program(
      t,
      ({ port, secure, third }) => {
        const fs = require('node:fs');
        const app = require('drover').createServer({ cluster: { workers: 2 } });
        app.get('/', (_, response) => response.send(`${process.pid}`));
        app.listen(port, '127.0.0.1', () => console.log('ONE'));
        const options = { key: fs.readFileSync(process.env.TLS_KEY_FILE), cert: fs.readFileSync(process.env.TLS_CERT_FILE) };
        require('node:https').createServer(options, app).listen(secure, '127.0.0.1', () => console.log('TWO'));
        app.listen(third, '127.0.0.1', () => console.log('THREE'));
      },
      { given: { port, secure, third }, env: { ...env, ...tlsEnvironment(t) } },
    );
    const count = where === 'a cluster' ? 3 : 1;
    for (const word of [/ONE/, /TWO/, /THREE/]) await run.untilMany(count, word);
    served(where, run, await answers(async () => (await request(port)).body));
    served(where, run, await answers(async () => (await request(secure, { secure: true })).body));
    served(where, run, await answers(async () => (await request(third)).body));
  });

  test(`in ${where} two servers on port 0 are two ports, which every process knows`, async (t) => {
    const run = program(
      t,
      () => {
        const app = require('drover').createServer({ cluster: { workers: 2 } });
        const open = (name, then) => {
          const server = require('node:http').createServer(app).listen(0, '127.0.0.1', () => {
            console.log(`${name} ${server.address().port}`);
            then?.();
          });
        };
        open('FIRST', () => open('SECOND'));
      },
      { env },
    );
    const count = where === 'a cluster' ? 3 : 1;
    const ports = async (pattern) => new Set((await run.untilMany(count, pattern)).map(([, port]) => port));
    const [first, second] = [await ports(/FIRST (\d+)/), await ports(/SECOND (\d+)/)];
    assert.equal(first.size, 1, run.stdout);
    assert.equal(second.size, 1, run.stdout);
    assert.notDeepEqual(first, second);
  });
}

const given = {
  'a request listener, over HTTP/2': {
    main: ({ port }) => {
      const listener = (_, response) => response.end(`${process.pid}`);
      require('drover').createServer({ app: listener, cluster: { workers: 2 } });
      require('node:http2').createServer(listener).listen(port, '127.0.0.1', () => console.log('LISTENS'));
    },
    ask: async (port) => (await h2(port)).body,
  },
  'Koa by its callback': {
    main: ({ port, koa }) => {
      const app = new (require(koa))();
      app.use((context) => void (context.body = `${process.pid}`));
      require('drover').createServer({ app, cluster: { workers: 2 } });
      require('node:http').createServer(app.callback()).listen(port, '127.0.0.1', () => console.log('LISTENS'));
    },
  },
  'Fastify by its own listen': {
    main: ({ port, fastify }) => {
      const app = require(fastify)();
      app.get('/', async () => `${process.pid}`);
      require('drover').createServer({ app, cluster: { workers: 2 } });
      app.listen({ port, host: '127.0.0.1' }).then(() => console.log('LISTENS'));
    },
  },
  'an http.Server by its own listen': {
    main: ({ port }) => {
      const app = require('node:http').createServer((_, response) => response.end(`${process.pid}`));
      require('drover').createServer({ app, cluster: { workers: 2 } });
      app.listen(port, '127.0.0.1', () => console.log('LISTENS'));
    },
  },
};

for (const [what, { main, ask }] of Object.entries(given)) {
  test(`what was given to createServer is clustered when the program serves it itself: ${what}`, async (t) => {
    const port = await freePort();
    const modules = { koa: require.resolve('koa'), fastify: require.resolve('fastify') };
    const run = program(t, main, { given: { port, ...modules }, env: clustered });
    await run.untilMany(3, /LISTENS/);
    served('a cluster', run, await answers(ask ? () => ask(port) : async () => (await request(port)).body));
  });
}

test('closing one of several servers in the primary closes that port in every worker, the last one ends the cluster', async (t) => {
  const [port, other] = [await freePort(), await freePort()];
  const run = program(
    t,
    ({ port, other }) => {
      const http = require('node:http');
      const app = require('drover').createServer({ cluster: { workers: 2 } });
      app.get('/', (_, response) => response.send(`${process.pid}`));
      const first = app.listen(port, '127.0.0.1', () => console.log('LISTENS'));
      const second = http.createServer(app).listen(other, '127.0.0.1', () => console.log('LISTENS'));
      if (app.isWorker) return void second.on('close', () => console.log('WORKER CLOSED'));
      process.once('SIGUSR1', () => second.close(() => console.log(`ONE CLOSED ${first.listening} ${second.listening}`)));
      process.on('SIGWINCH', () => first.close(() => console.log(`ALL CLOSED ${first.listening}`)));
    },
    { given: { port, other }, env: clustered },
  );
  await run.untilMany(6, /LISTENS/);
  run.signal('SIGUSR1');
  await run.until(/ONE CLOSED true false/);
  await run.untilMany(2, /WORKER CLOSED/);
  const [error] = await once(net.connect(other, '127.0.0.1'), 'error');
  assert.equal(error.code, 'ECONNREFUSED');
  served('a cluster', run, await answers(async () => (await request(port)).body));
  run.signal('SIGWINCH');
  await run.until(/ALL CLOSED false/);
  assert.deepEqual(await run.exit, { code: 0, signal: null }, run.output);
});

test('a second port that is in use is an error of that server only', async (t) => {
  const holder = net.createServer().listen(0, '127.0.0.1');
  t.after(() => holder.close());
  await once(holder, 'listening');
  const port = await freePort();
  const run = program(
    t,
    ({ port, taken }) => {
      const app = require('drover').createServer({ cluster: { workers: 2 } });
      app.get('/', (_, response) => response.send(`${process.pid}`));
      app.listen(port, '127.0.0.1', () => console.log('LISTENS'));
      require('node:http').createServer(app).on('error', ({ code }) => console.log(`TAKEN ${code}`)).listen(taken, '127.0.0.1');
    },
    { given: { port, taken: holder.address().port }, env: clustered },
  );
  await run.untilMany(3, /LISTENS/);
  await run.untilMany(3, /TAKEN EADDRINUSE/);
  served('a cluster', run, await answers(async () => (await request(port)).body));
});

test('servers of the primary without the application are its own, and nothing is logged', async (t) => {
  const [port, admin, raw] = [await freePort(), await freePort(), await freePort()];
  const run = program(
    t,
    ({ port, admin, raw }) => {
      const app = require('drover').createServer({ cluster: { workers: 2 } });
      app.get('/', (_, response) => response.send(`${process.pid}`));
      app.listen(port, '127.0.0.1', () => console.log('LISTENS'));
      if (app.isWorker) return;
      const http = require('node:http');
      http.createServer((_, response) => response.end(`${process.pid}`)).listen(admin, '127.0.0.1', () => console.log('ADMIN'));
      require('node:net').createServer((socket) => socket.end('raw\n')).listen(raw, '127.0.0.1', () => console.log('RAW'));
    },
    { given: { port, admin, raw }, env: clustered },
  );
  await run.untilMany(3, /LISTENS/);
  await run.until(/ADMIN/);
  await run.until(/RAW/);
  assert.deepEqual(await answers(async () => (await request(admin)).body), [run.pid]);
  const socket = net.connect(raw, '127.0.0.1');
  assert.equal(String((await once(socket, 'data'))[0]), 'raw\n');
  served('a cluster', run, await answers(async () => (await request(port)).body));
  run.signal('SIGTERM');
  await run.event('cluster:stopped');
  assert.doesNotMatch(run.output, /The primary itself answers/);
});

test('a server of the primary that only calls the application is logged once, at its first request', async (t) => {
  const [port, own] = [await freePort(), await freePort()];
  const run = program(
    t,
    ({ port, own }) => {
      const app = require('drover').createServer({ cluster: { workers: 2 } });
      app.get('/', (_, response) => response.send(`${process.pid}`));
      app.listen(port, '127.0.0.1', () => console.log('LISTENS'));
      if (app.isWorker) return;
      require('node:http').createServer((question, answer) => app(question, answer)).listen(own, '127.0.0.1', () => console.log('OWN'));
    },
    { given: { port, own }, env: clustered },
  );
  await run.untilMany(3, /LISTENS/);
  await run.until(/OWN/);
  served('a cluster', run, await answers(async () => (await request(port)).body));
  assert.doesNotMatch(run.output, /The primary itself answers/);
  assert.deepEqual(await answers(async () => (await request(own)).body), [run.pid]);
  await run.until(/The primary itself answers requests for the application/);
  assert.equal(run.raw.match(/The primary itself answers/g).length, 1);
});

test('Node is not patched before a clustered application is created in a primary', async (t) => {
  const run = program(
    t,
    () => {
      const { Server } = require('node:net');
      const { listen, _listen2 } = Server.prototype;
      const isAsEver = () => Server.prototype.listen === listen && Server.prototype._listen2 === _listen2 && !Object.hasOwn(Server.prototype, 'on');
      const drover = require('drover');
      const facts = [isAsEver()];
      drover.createServer();
      facts.push(isAsEver());
      drover.createServer({ cluster: { enabled: true } });
      facts.push(isAsEver());
      console.log(`FACTS ${facts}`);
    },
    {},
  );
  await run.until(/FACTS true,true,false/);
});
