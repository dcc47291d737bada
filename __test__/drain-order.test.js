'use strict';

// How a worker ends that was asked to: in the order that programs rely on, whatever they do at the end. Where one
// process passes, the same program runs as one process too.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const http = require('node:http');
const http2 = require('node:http2');
const net = require('node:net');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { write } = require('./helpers/program');
const { run } = require('./helpers/run');
const { isBun } = require('./helpers/runtime');

const managed = path.join(__dirname, 'fixtures', 'managed.js');

/** Ways to run a program that listens on PORT and prints SERVES. */
const runners = {
  'one process': (t, file, { env }) => run(t, file, { env }),
  drover: (t, file, { env, config }) =>
    run(t, managed, { args: [file], env: { ...env, CLUSTER_CONFIG: JSON.stringify({ workers: 1, ...config }) } }),
};

/** Starts `main` where it listens on PORT. */
async function serving(t, way, main, { config, given } = {}) {
  const port = await freePort();
  const program = runners[way](t, write(t, main, { given }), { env: { PORT: String(port) }, config });
  await program.until(/SERVES/);
  if (way === 'drover') await program.until(/the cluster is ready/);
  return { program, port };
}

/** One test for each way. `act` gets the test, the way, the program and its port. */
function both(title, main, act, options) {
  for (const way of Object.keys(runners)) {
    test(`${way}: ${title}`, async (t) => {
      const { program, port } = await serving(t, way, main, options);
      await act({ t, way, program, port });
    });
  }
}

/** What is told of a worker's end, without what the primary's own lines say. */
const clean = ({ exit, output }) => exit.then((end) => assert.deepEqual(end, { code: 0, signal: null }, output));

/** Reads the response to `path` as it comes; resolves with its first bytes. */
async function stream(t, port, path) {
  const outgoing = http.get({ port, host: '127.0.0.1', path, agent: false });
  t.after(() => outgoing.destroy());
  const [response] = await once(outgoing, 'response');
  response.on('error', () => {});
  const text = [];
  response.setEncoding('utf8').on('data', (piece) => text.push(piece));
  await once(response, 'data');
  return { ended: new Promise((resolve) => response.once('close', () => resolve(text.join('')))) };
}

const budget = (whole, kill, linger) => ({
  processManagement: { gracefulShutdownTimeout: whole, killTimeout: kill, lingerTimeout: linger },
});

// Handlers and their time.

both(
  'an asynchronous signal handler has all of the remaining time, not only the linger time',
  () => {
    require('node:http').createServer().listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
    process.on('SIGTERM', async () => {
      console.log('JOB BEGINS');
      await new Promise((resolve) => setTimeout(resolve, 1500));
      console.log('JOB DONE');
      process.exit(0);
    });
  },
  async ({ program }) => {
    program.signal('SIGTERM');
    await clean(program);
    assert.match(program.stdout, /JOB BEGINS\n[^]*JOB DONE/);
    assert.equal(program.stdout.match(/JOB BEGINS/g).length, 1);
  },
  { config: budget(20_000, 1000, 200) },
);

both(
  'a handler that works by callbacks has all the time that is left, too',
  () => {
    const server = require('node:http').createServer().listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
    process.on('SIGTERM', () => {
      server.close(() => {
        require('node:fs').stat(__filename, () => {
          setTimeout(() => {
            console.log('CLEANED');
            process.exit(0);
          }, 1500);
        });
      });
    });
    // Without the handler this would never end.
    setInterval(() => {}, 1000);
  },
  async ({ program }) => {
    program.signal('SIGTERM');
    await clean(program);
    assert.match(program.stdout, /CLEANED/);
  },
  { config: budget(20_000, 1000, 200) },
);

/** Ways to wait for a signal without a handler of one's own; `job` is what is to be done. */
const waiters = {
  'events.once': `once(process, 'SIGTERM').then(job)`,
  'an await of events.once': `(async () => { await once(process, 'SIGTERM'); await job(); })()`,
  'a loop over events.on': `(async () => { for await (const _ of on(process, 'SIGTERM')) await job(); })()`,
  'an AbortSignal': `
    const stop = new AbortController();
    process.once('SIGTERM', () => stop.abort());
    sleep(2 ** 30, null, { signal: stop.signal }).catch(job);`,
};

for (const [what, source] of Object.entries(waiters)) {
  both(
    `who waits for a signal by ${what} has all the time that is left, not the linger time`,
    `
    const { on, once } = require('node:events');
    const { setTimeout: sleep } = require('node:timers/promises');
    require('node:http').createServer().listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
    async function job() {
      await sleep(500);
      await sleep(1000);
      console.log('JOB DONE');
      process.exit(0);
    }
    ${source}`,
    async ({ program }) => {
      program.signal('SIGTERM');
      await clean(program);
      assert.match(program.stdout, /JOB DONE/);
    },
    { config: budget(20_000, 1000, 200) },
  );
}

test('after the code that waited for a signal is done, an interval delays the end only by the linger time', async (t) => {
  const main = () => {
    require('node:http').createServer().listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
    setInterval(() => {}, 1000);
    (async () => {
      await require('node:events').once(process, 'SIGTERM');
      await new Promise((resolve) => setTimeout(resolve, 100));
      console.log('JOB DONE');
    })();
  };
  const { program } = await serving(t, 'drover', main, { config: budget(20_000, 1000, 200) });
  program.signal('SIGTERM');
  await clean(program);
  assert.match(program.stdout, /JOB DONE\n[^]*"event":"worker:lingered"/);
});

test('handlers are called once, after half of the time, even with an unanswered request', async (t) => {
  const main = () => {
    const server = require('node:http').createServer((request, response) => {
      response.write('begun');
      console.log('ASKED');
    });
    server.listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
    process.on('SIGTERM', () => console.log('TOLD'));
  };
  const { program, port } = await serving(t, 'drover', main, { config: budget(2000, 400, 0) });
  const { ended } = await stream(t, port, '/');
  program.signal('SIGTERM');
  await program.until(/TOLD/);
  assert.deepEqual(program.events('worker:exit'), []);
  // The real SIGTERM comes for the last 400 ms.
  await clean(program);
  await ended;
  assert.equal(program.stdout.match(/TOLD/g).length, 1, program.output);
});

for (const [listens, comes] of [
  ['SIGINT', 'SIGTERM'],
  ['SIGTERM', 'SIGINT'],
  ['SIGINT', 'SIGINT'],
]) {
  test(`a handler of ${listens} alone is called when ${comes} stops the cluster`, async (t) => {
    const main = ({ listens }) => {
      require('node:http').createServer().listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
      process.on(listens, (name, number) => {
        console.log('TOLD', name, number);
        process.exit(0);
      });
    };
    const { program } = await serving(t, 'drover', main, { given: { listens } });
    program.signal(comes);
    await clean(program);
    const number = require('node:os').constants.signals[listens];
    assert.match(program.stdout, new RegExp(`TOLD ${listens} ${number}`));
  });
}

test('of handlers for both signals the one for the received signal is called', async (t) => {
  const main = () => {
    require('node:http').createServer().listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
    for (const name of ['SIGTERM', 'SIGINT']) process.once(name, () => console.log('TOLD', name));
  };
  const { program } = await serving(t, 'drover', main);
  program.signal('SIGINT');
  await clean(program);
  assert.deepEqual(program.stdout.match(/TOLD \w+/g), ['TOLD SIGINT']);
});

both(
  'an error in a handler is uncaught, and a rejection of one is not handled',
  () => {
    require('node:http').createServer().listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
    process.on('uncaughtException', ({ message }) => console.log('UNCAUGHT', message));
    process.on('unhandledRejection', ({ message }) => {
      console.log('UNHANDLED', message);
      process.exit(0);
    });
    process.on('SIGTERM', () => {
      throw new Error('thrown');
    });
    process.prependListener('SIGTERM', async () => {
      await undefined;
      await new Promise((resolve) => setTimeout(resolve, 100));
      throw new Error('rejected');
    });
  },
  async ({ program }) => {
    program.signal('SIGTERM');
    await clean(program);
    assert.match(program.stdout, /UNCAUGHT thrown\n[^]*UNHANDLED rejected/);
  },
);

// Streams and other connections that have no end of their own.

both(
  'a handler is called although an event stream is open, and the data that it writes arrives',
  () => {
    const streams = new Set();
    const server = require('node:http').createServer((_, response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream; charset=utf-8' });
      response.write('data: hello\n\n');
      streams.add(response);
    });
    server.listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
    process.on('SIGTERM', () => {
      for (const response of streams) response.end('data: bye\n\n');
      server.close(() => {
        console.log('CLEANED');
        process.exit(0);
      });
    });
  },
  async ({ t, program, port }) => {
    const { ended } = await stream(t, port, '/');
    program.signal('SIGTERM');
    assert.match(await ended, /bye/);
    await clean(program);
    assert.match(program.stdout, /CLEANED/);
  },
  { config: budget(3_600_000, 1000, 3_000_000) },
);

both(
  'a handler is called although a connection of another protocol is open',
  () => {
    const sockets = new Set();
    const server = require('node:net').createServer((socket) => {
      socket.write('hello\n');
      socket.on('error', () => {});
      sockets.add(socket);
    });
    server.listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
    process.on('SIGTERM', () => {
      for (const socket of sockets) socket.end('bye\n');
      server.close(() => {
        console.log('CLEANED');
        process.exit(0);
      });
    });
  },
  async ({ t, program, port }) => {
    const socket = net.connect(port, '127.0.0.1').setEncoding('utf8');
    t.after(() => socket.destroy());
    await once(socket, 'data');
    program.signal('SIGTERM');
    assert.match(`${(await once(socket, 'data'))[0]}`, /bye/);
    socket.end();
    await clean(program);
    assert.match(program.stdout, /CLEANED/);
  },
  { config: budget(3_600_000, 1000, 3_000_000) },
);

both(
  'a handler is called although an upgraded connection is open',
  () => {
    const server = require('node:http').createServer();
    const sockets = new Set();
    server.on('upgrade', (_, socket) => {
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: own\r\n\r\n');
      sockets.add(socket);
    });
    server.listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
    process.on('SIGTERM', () => {
      for (const socket of sockets) socket.end('bye');
      server.close(() => console.log('CLEANED'));
    });
  },
  async ({ t, program, port }) => {
    const outgoing = http.get({ port, host: '127.0.0.1', agent: false, headers: { Connection: 'Upgrade', Upgrade: 'own' } });
    const [, socket] = await once(outgoing, 'upgrade');
    t.after(() => socket.destroy());
    program.signal('SIGTERM');
    assert.equal(`${(await once(socket, 'data'))[0]}`, 'bye');
    socket.end();
    await program.until(/CLEANED/);
  },
  { config: budget(3_600_000, 1000, 3_000_000) },
);

/** Streams of an HTTP/2 session that have no end of their own, by what they ask for. */
const endless = {
  'a stream of events': { ':path': '/events' },
  'a stream of pictures': { ':path': '/pictures' },
  'a WebSocket': { ':path': '/', ':method': 'CONNECT', ':protocol': 'websocket' },
};

for (const [what, headers] of Object.entries(endless)) {
  test(`HTTP/2: a handler is called although ${what} is open, and not before the last response`, async (t) => {
    const main = () => {
      const server = require('node:http2').createServer({ settings: { enableConnectProtocol: true } });
      const types = { '/events': 'text/event-stream', '/pictures': 'multipart/x-mixed-replace; boundary=next', '/slow': 'text/plain' };
      server.on('stream', (stream, { ':path': path, ':method': method }) => {
        stream.on('error', () => {});
        stream.respond({ ':status': 200, ...(method !== 'CONNECT' && { 'content-type': types[path] }) });
        stream.write('begun');
        if (path === '/slow') stream.session.once('goaway', () => setTimeout(() => stream.end(() => console.log('ANSWERED')), 300));
      });
      server.listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
      process.on('SIGTERM', () => {
        console.log('TOLD');
        process.exit(0);
      });
    };
    const { program, port } = await serving(t, 'drover', main, { config: budget(3_600_000, 1000, 0) });
    const session = http2.connect(`http://127.0.0.1:${port}`);
    t.after(() => session.destroy());
    session.on('error', () => {});
    await once(session, 'remoteSettings');
    for (const asked of [headers, { ':path': '/slow' }]) {
      const stream = session.request(asked).on('error', () => {});
      await once(stream, 'data');
    }
    program.signal('SIGTERM');
    await clean(program);
    assert.match(program.stdout, /ANSWERED\n[^]*TOLD/);
  });
}

test('the hooks run although an event stream is open, and not before the last response', async (t) => {
  const main = () => {
    const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 1 } } });
    app.get('/events', (_, response) => response.type('text/event-stream').write('data: hello\n\n'));
    app.get('/slow', (_, response) => {
      app.cluster.once('worker:draining', () => setTimeout(() => response.end(() => console.log('ANSWERED')), 300));
      response.write('slow');
    });
    app.onShutdown(() => console.log('HOOK'));
    app.start(Number(process.env.PORT), '127.0.0.1').then(() => app.isPrimary && console.log('SERVES'));
  };
  const port = await freePort();
  const program = run(t, write(t, main), { env: { PORT: String(port) } });
  await program.until(/SERVES/);
  await stream(t, port, '/events');
  const slow = await stream(t, port, '/slow');
  program.signal('SIGTERM');
  await program.until(/HOOK/);
  await slow.ended;
  assert.match(program.stdout, /ANSWERED\n[^]*HOOK/);
  await clean(program);
});

test('the hooks wait for the last answer of a server that the program had closed before, too', async (t) => {
  const main = () => {
    const http = require('node:http');
    const app = require('drover').createServer({ app: http.createServer(), cluster: { enabled: true, config: { workers: 1 } } });
    if (app.isWorker) {
      const second = http.createServer((_, response) => {
        app.cluster.once('worker:draining', () => setTimeout(() => response.end(() => console.log('ANSWERED')), 300));
        response.write('slow');
        second.close();
        console.log('CLOSES');
      });
      second.listen(Number(process.env.SECOND), '127.0.0.1', () => console.log('SECOND'));
    }
    app.onShutdown(() => console.log('HOOK'));
    app.start(Number(process.env.PORT), '127.0.0.1').then(() => app.isPrimary && console.log('SERVES'));
  };
  const [port, second] = [await freePort(), await freePort()];
  const program = run(t, write(t, main), { env: { PORT: String(port), SECOND: String(second) } });
  await program.until(/SERVES/);
  await program.until(/SECOND/);
  const slow = await stream(t, second, '/');
  await program.until(/CLOSES/);
  program.signal('SIGTERM');
  await slow.ended;
  await clean(program);
  assert.match(program.stdout, /ANSWERED\n[^]*HOOK/);
});

// Work that goes on.

test('a roll loses no work that continues after the response', async (t) => {
  const main = () => {
    const server = require('node:http').createServer((_, response) => {
      response.writeHead(202).end('accepted');
      setTimeout(() => console.log('WORK DONE'), 700);
    });
    server.listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
  };
  const { program, port } = await serving(t, 'drover', main);
  assert.equal((await request(port)).status, 202);
  program.signal('SIGUSR2');
  await program.until(/WORK DONE/);
  await program.event('command:done', { command: 'restartCluster' });
});

// A stop by a signal that the program does not handle, which ends one process at once. Here a worker waits for its work.

/** An hour: whoever waits for it does not end in the time of a test. */
const HOUR = 3_600_000;
/** Bun does not tell what keeps its event loop alive: a worker waits for it this long. */
const LINGER = isBun ? 1500 : HOUR;

test('a stop by a signal that the program does not handle loses no work that continues after the response', async (t) => {
  const main = () => {
    const server = require('node:http').createServer((_, response) => {
      response.writeHead(202).end('accepted');
      setTimeout(() => console.log('WORK DONE'), 700);
    });
    server.listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
    setInterval(() => {}, 1000);
  };
  const { program, port } = await serving(t, 'drover', main, { config: budget(2 * HOUR, 1000, LINGER) });
  assert.equal((await request(port)).status, 202);
  program.signal('SIGTERM');
  await clean(program);
  assert.match(program.stdout, /WORK DONE/);
});

for (const [what, begin] of [
  ['an interval', () => setInterval(() => {}, 1000)],
  ['a connection to a server of others', () => require('node:net').connect(process.env.ELSEWHERE, '127.0.0.1')],
  // In Bun a port keeps the event loop alive for some time, or not.
  ...(isBun ? [] : [['a port for messages', () => new MessageChannel().port1.on('message', () => {})]]),
]) {
  const serve = ({ begin }, listening) => {
    const http = require('node:http');
    const server = http.createServer((_, response) => response.end('served'));
    server.on('connection', (socket) => socket.on('close', () => console.log('ENDED')));
    listening(server, eval(begin));
    server.listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
  };
  const starting = async (t, listening, linger) => {
    const elsewhere = net.createServer().listen(0, '127.0.0.1');
    t.after(() => elsewhere.close());
    elsewhere.on('connection', (socket) => t.after(() => socket.destroy()));
    await once(elsewhere, 'listening');
    const source = `process.env.ELSEWHERE = '${elsewhere.address().port}';\n(${serve})(${JSON.stringify({ begin: `(${begin})` })}, ${listening});`;
    const port = await freePort();
    const file = write(t, source);
    const program = runners.drover(t, file, { env: { PORT: String(port) }, config: budget(2 * HOUR, 1000, linger) });
    await program.until(/SERVES/);
    await program.until(/the cluster is ready/);
    return { program, port };
  };
  const atStart = (_, begin) => begin();
  const forRequest = (server, begin) => server.on('request', begin);

  test(`a stop by a signal that the program does not handle does not wait for ${what} from before the first connection`, async (t) => {
    const { program, port } = await starting(t, atStart, LINGER);
    assert.equal((await request(port)).body, 'served');
    program.signal('SIGTERM');
    await clean(program);
    assert.deepEqual(program.events('worker:lingered'), []);
  });

  test(`a stop by a signal does not wait for ${what} of a request if the worker has been idle for lingerTimeout`, async (t) => {
    const linger = 500;
    const { program, port } = await starting(t, forRequest, linger);
    assert.equal((await request(port)).body, 'served');
    await program.until(/ENDED/);
    await new Promise((resolve) => setTimeout(resolve, linger));
    program.signal('SIGINT');
    await clean(program);
    assert.deepEqual(program.events('worker:lingered'), []);
  });

  test(`${what} of a request costs the linger time before lingerTimeout is over, and in a roll`, async (t) => {
    for (const signal of ['SIGTERM', 'SIGUSR2']) {
      const { program, port } = await starting(t, forRequest, 1000);
      assert.equal((await request(port)).body, 'served');
      program.signal(signal);
      await program.event('worker:lingered');
    }
  });
}

for (const [what, wait] of [
  ['open', () => {}],
  ['of messages', () => process.on('message', () => {})],
  ['of datagrams', () => require('node:dgram').createSocket('udp4').bind(process.env.PORT, '127.0.0.1')],
]) {
  test(`a worker that may always have work (${what}) gives its resources the linger time`, async (t) => {
    const main = `'use strict';
      const net = require('node:net');
      const server = net.createServer((socket) => { setInterval(() => {}, 1000); socket.end('served'); });
      if (${what === 'open'}) net.createServer((socket) => socket.write('served')).listen(process.env.OTHER, '127.0.0.1', () => console.log('BOTH'));
      else console.log('BOTH');
      (${wait})();
      server.on('connection', (socket) => socket.on('close', () => console.log('ENDED')));
      server.listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));`;
    const [port, other] = [await freePort(), await freePort()];
    const program = runners.drover(t, write(t, main), {
      env: { PORT: String(port), OTHER: String(other) },
      config: budget(2 * HOUR, 1000, 300),
    });
    // A socket of datagrams makes its worker ready before the server listens.
    for (const said of [/BOTH/, /SERVES/, /the cluster is ready/]) await program.until(said);
    if (what === 'open') {
      const kept = net.connect(other, '127.0.0.1').on('error', () => {});
      t.after(() => kept.destroy());
      await once(kept, 'data');
    }
    const client = net.connect(port, '127.0.0.1').resume();
    await once(client, 'close');
    await program.until(/ENDED/);
    await new Promise((resolve) => setTimeout(resolve, 300));
    program.signal('SIGTERM');
    await program.event('worker:lingered');
    await clean(program);
  });
}

for (const [what, promise, said] of [
  ['is fulfilled', () => new Promise((resolve) => setTimeout(resolve, 1200)), /SETTLED/],
  [
    'is rejected',
    () => new Promise((_, reject) => setTimeout(reject, 1200, new Error('it failed'))),
    // Bun shows the line before the error.
    isBun ? /a promise that was given to waitUntil was rejected: [^]*error: it failed/ : /a promise that was given to waitUntil was rejected: Error: it failed/,
  ],
]) {
  for (const enabled of [true, false]) {
    const where = enabled ? 'a worker' : 'a process without a cluster';
    test(`${where} waits for a promise of waitUntil until it ${what}, then calls the handlers`, async (t) => {
      const main = ({ enabled, source }) => {
        const config = { workers: 1, processManagement: { lingerTimeout: 0 } };
        const app = require('drover').createServer({ cluster: { enabled, config } });
        app.get('/', (_, response) => {
          const promise = eval(source)();
          app.waitUntil(promise);
          promise.then(() => console.log('SETTLED'), () => {});
          response.status(202).end();
        });
        if (app.isWorker) process.on('SIGTERM', () => console.log('HANDLER'));
        app.start(Number(process.env.PORT), '127.0.0.1').then(() => app.isPrimary && console.log('SERVES'));
      };
      const port = await freePort();
      const program = run(t, write(t, main, { given: { enabled, source: String(promise) } }), { env: { PORT: String(port) } });
      await program.until(/SERVES/);
      assert.equal((await request(port)).status, 202);
      program.signal('SIGTERM');
      await clean(program);
      assert.match(program.output, said);
      if (enabled && said.source === 'SETTLED') assert.match(program.stdout, /SETTLED\n[^]*HANDLER/);
    });
  }
}

for (const [what, inHook, inHandler] of [
  ['a hook that asks for the stop that it is part of', 'await app.stopCluster(); console.log("HOOK GOES ON")', 'console.log("HANDLER")'],
  ['a hook that a handler names', '', 'app.onShutdown(() => console.log("HOOK GOES ON"))'],
  [
    'a promise that a handler gives to waitUntil',
    '',
    'app.waitUntil(new Promise((resolve) => process.nextTick(() => setTimeout(resolve, 700))).then(() => console.log("HOOK GOES ON")))',
  ],
]) {
  test(`${what} is carried out, and the process ends`, async (t) => {
    const main = ({ inHook, inHandler }) => {
      const config = { workers: 1, processManagement: { gracefulShutdownTimeout: '1h', lingerTimeout: 0 } };
      const app = require('drover').createServer({ cluster: { enabled: true, config } });
      const AsyncFunction = (async () => {}).constructor;
      if (app.isWorker) {
        app.onShutdown(() => new AsyncFunction('app', inHook)(app));
        process.on('SIGTERM', () => new Function('app', inHandler)(app));
      }
      app.start(Number(process.env.PORT), '127.0.0.1').then(() => app.isPrimary && console.log('SERVES'));
    };
    const program = run(t, write(t, main, { given: { inHook, inHandler } }), { env: { PORT: String(await freePort()) } });
    await program.until(/SERVES/);
    program.signal('SIGTERM');
    await clean(program);
    assert.match(program.stdout, /HOOK GOES ON/);
  });
}

test('waitUntil takes a promise and nothing else', async (t) => {
  const main = () => {
    const app = require('drover').createServer();
    for (const wrong of [undefined, null, 5, () => {}]) {
      try {
        app.waitUntil(wrong);
        console.log('TAKEN');
      } catch (error) {
        console.log(error.name, error.message);
      }
    }
  };
  const program = run(t, write(t, main));
  await program.exit;
  assert.equal(program.stdout.match(/TypeError waitUntil takes a promise, not/g)?.length, 4, program.output);
});

// The end.

both(
  'a handler that closes everything does not delay the end of the process',
  () => {
    const server = require('node:http').createServer().listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
    process.once('SIGTERM', () => server.close());
    process.on('exit', (code) => console.log('EXIT', code));
  },
  async ({ program }) => {
    program.signal('SIGTERM');
    await clean(program);
    assert.match(program.stdout, /EXIT 0/);
    assert.deepEqual(program.events('worker:lingered'), []);
  },
  { config: budget(3_600_000, 1000, 3_000_000) },
);

test("'beforeExit' is emitted, and work begun by its listeners is completed", async (t) => {
  const main = () => {
    require('node:http').createServer().listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
    process.once('beforeExit', (code) => setTimeout(() => console.log('FLUSHED', code), 200));
  };
  const { program } = await serving(t, 'drover', main, { config: budget(3_600_000, 1000, 100) });
  program.signal('SIGUSR2');
  await program.event('command:done', { command: 'restartCluster' });
  await program.until(/FLUSHED 0/);
  assert.deepEqual(program.events('worker:lingered'), []);
});

test("work that never ends delays the exit by the linger time and is logged; 'beforeExit' is emitted and its work done", async (t) => {
  const main = () => {
    require('node:http').createServer().listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
    setInterval(() => {}, 1000);
    setInterval(() => {}, 1000);
    process.once('beforeExit', () => setTimeout(() => console.log('FLUSHED'), 200));
    process.on('SIGTERM', () => {});
  };
  const { program } = await serving(t, 'drover', main, { config: budget(isBun ? 2000 : HOUR, 1000, 300) });
  program.signal('SIGTERM');
  await clean(program);
  const { msg, left, waitedMs } = await program.event('worker:lingered');
  assert.match(msg, /Worker 0 exits \d+ ms after it had nothing left to do \(processManagement.lingerTimeout\), although its event loop is not empty: .*2 Timeout/);
  assert.ok(waitedMs >= 300 && left.Timeout === 2, msg);
  assert.equal(left.PipeWrap, undefined, 'what a process writes its output to holds nobody up');
  assert.match(program.stdout, /FLUSHED/);
});

test('lingerTimeout 0 waits for nothing', async (t) => {
  const main = () => {
    require('node:http').createServer().listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
    setTimeout(() => console.log('TOO LATE'), 3_000_000);
  };
  const { program } = await serving(t, 'drover', main, { config: budget(3_600_000, 1000, 0) });
  program.signal('SIGTERM');
  await clean(program);
  assert.doesNotMatch(program.stdout, /TOO LATE/);
});

for (const [how, end, ended] of [
  ['with a code of its own', 'process.exit(143)', { exitCode: 143, signal: null }],
  ['by a signal', "process.kill(process.pid, 'SIGKILL')", { exitCode: null, signal: 'SIGKILL' }],
  ['with process.exitCode', 'process.exitCode = 7', { exitCode: 7, signal: null }],
]) {
  test(`a worker that leaves ${how} at drover's request does not count as dead`, async (t) => {
    const main = ({ end }) => {
      const server = require('node:http').createServer().listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
      process.on('SIGTERM', () => {
        server.close();
        eval(end);
      });
    };
    const { program } = await serving(t, 'drover', main, { given: { end } });
    program.signal('SIGUSR2');
    await program.event('command:done', { command: 'restartCluster' });
    const { level, exitCode, signal, reason } = await program.event('worker:exit');
    assert.deepEqual({ level, exitCode, signal, reason }, { level: 30, reason: 'stopped', ...ended });
    assert.deepEqual(program.events('worker:restart'), []);
  });
}

test('the next slot of a roll does not wait for a lingering worker', async (t) => {
  const main = () => {
    require('node:http').createServer().listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
    setInterval(() => {}, 1000);
  };
  const { program } = await serving(t, 'drover', main, { config: { workers: 2, ...budget(60_000, 1000, 2000) } });
  program.signal('SIGUSR2');
  const draining = await program.eventMany(2, 'worker:draining');
  assert.deepEqual(draining.map(({ worker }) => worker), ['0', '1']);
  assert.deepEqual(program.events('worker:exit'), []);
  await program.event('command:done', { command: 'restartCluster' });
});

// server.close() of the program's.

const closings = {
  'with a callback': 'server.close(done)',
  'as a promise': "require('node:util').promisify(server.close).call(server).then(() => done(), done)",
  'when drover has closed it already': "process.once('beforeExit', () => server.close(done))",
  'later than the handler': 'setTimeout(() => server.close(done), 300)',
};

for (const [how, source] of Object.entries(closings)) {
  for (const kind of ['http', 'net', 'https']) {
    test(`server.close() ${how}, ${kind}: no error, and 'close' is emitted once`, async (t) => {
      const main = ({ source, kind, tls }) => {
        const server = require(`node:${kind}`).createServer(tls).listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
        let closes = 0;
        server.on('close', () => (closes += 1));
        const done = (error) => setImmediate(() => console.log(`CLEANED ${error?.code ?? 'well'} ${closes}`, server.listening));
        process.on('SIGTERM', () => new Function('server', 'done', 'require', source)(server, done, require));
      };
      const tls = kind === 'https' ? require('./helpers/certificate').createCertificate() : {};
      const { program } = await serving(t, 'drover', main, { given: { source, kind, tls } });
      program.signal('SIGTERM');
      await clean(program);
      assert.deepEqual(program.stdout.match(/CLEANED.*/g), ['CLEANED well 1 false'], program.output);
    });
  }
}

both(
  'who closes twice is told so',
  () => {
    const server = require('node:http').createServer().listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
    const told = (what) => (error) => console.log(what, error?.code ?? 'well');
    process.on('SIGTERM', () => {
      server.close(told('FIRST'));
      server.close(told('SECOND'));
    });
  },
  async ({ program }) => {
    program.signal('SIGTERM');
    await clean(program);
    // Bun calls the second callback first.
    assert.match(program.stdout, isBun ? /SECOND ERR_SERVER_NOT_RUNNING\n[^]*FIRST well/ : /FIRST well\n[^]*SECOND ERR_SERVER_NOT_RUNNING/);
  },
);

test("a server that the program does not close is closed before the exit: 'close' is emitted, and work begun by its listeners is completed", async (t) => {
  const main = () => {
    const server = require('node:http').createServer().listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
    server.on('close', () => setTimeout(() => console.log('DATABASE CLOSED'), 300));
  };
  const { program } = await serving(t, 'drover', main);
  program.signal('SIGTERM');
  await clean(program);
  assert.match(program.stdout, /DATABASE CLOSED/);
});

for (const signal of ['SIGTERM', 'SIGUSR2']) {
  test(`a server that a request opens while its worker drains does not delay the exit: ${signal}`, async (t) => {
    const main = () => {
      const server = require('node:http').createServer((_, response) => {
        console.log('REQUEST');
        const open = () => require('node:net').createServer().listen(0, '127.0.0.1', () => response.end('opened'));
        setTimeout(open, 700);
      });
      server.listen(process.env.PORT, '127.0.0.1', () => console.log('SERVES'));
    };
    const { program, port } = await serving(t, 'drover', main);
    const response = request(port);
    await program.until(/REQUEST/);
    program.signal(signal);
    assert.equal((await response).body, 'opened');
    await program.event('worker:exit', { exitCode: 0 });
    assert.deepEqual(program.events('worker:lingered'), []);
  });
}

for (const workers of [undefined, 1]) {
  test(`a stop passed to waitUntil does not wait for itself: ${workers ? 'a worker' : 'one process'}`, async (t) => {
    const main = ({ port, workers: count }) => {
      const app = require('drover').createServer({ cluster: { enabled: count !== undefined, config: { workers: count } } });
      app.get('/', (_, response) => {
        response.end('ok');
        const stop = app.stopCluster();
        stop.then(() => console.log('STOPPED'));
        app.waitUntil(stop);
      });
      app.start(port, '127.0.0.1').then(() => console.log('SERVES'));
    };
    const port = await freePort();
    const program = run(t, write(t, main, { given: { port, workers } }));
    await program.untilMany(workers ? 2 : 1, /SERVES/);
    assert.equal((await request(port)).status, 200);
    // The budget is 30 s.
    await program.until(/STOPPED/, 10_000);
  });
}
