'use strict';

// Every option of Node's `listen` means what it means in one process, through `server.listen` and `app.listen`.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request, tcp } = require('./helpers/http');
const { nodeWith } = require('./helpers/nodes');
const { folder, noNetworks, ownNetwork, program } = require('./helpers/program');
const { inWay, processesOf, ways } = require('./helpers/ways');

const [major, minor] = process.versions.node.split('.').map(Number);
const hasReusePort = major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12);

/** The two clusters. */
const clusters = ways.filter((way) => processesOf(way) > 1);

const told = (run, pattern) => [...run.stdout.matchAll(new RegExp(pattern, 'g'))].map(([, value]) => value);

for (const way of clusters) {
  test(`${way}: exclusive gives each worker its own port`, async (t) => {
    const run = program(
      t,
      inWay(way, () => {
        const server = require('node:http').createServer((_, response) => response.end(`${process.pid}`));
        const options = { port: 0, host: '127.0.0.1', exclusive: true };
        server.listen(options, () => console.log(`LISTENS ${process.pid} ${server.address().port}`));
      }),
    );
    await run.untilMany(2, /LISTENS/);
    const own = told(run, /LISTENS (\d+ \d+)/).map((line) => line.split(' '));
    assert.equal(new Set(own.map(([, port]) => port)).size, 2, run.stdout);
    for (const [pid, port] of own) {
      for (let visit = 0; visit < 3; visit += 1) assert.equal((await request(Number(port))).body, pid);
    }
  });

  test(`${way}: exclusive on one port is EADDRINUSE for the second worker`, async (t) => {
    const run = program(
      t,
      inWay(
        way,
        ({ port }) => {
          const server = require('node:net').createServer();
          server.on('error', ({ code, syscall }) => {
            console.log(`ERROR ${code} ${syscall}`);
            // A worker that serves something is ready.
            server.listen(0, '127.0.0.1');
          });
          server.listen({ port, host: '127.0.0.1', exclusive: true }, () => console.log(`LISTENS ${server.address().port === port}`));
        },
        { port: await freePort() },
      ),
    );
    await run.until(/LISTENS true/);
    await run.until(/ERROR EADDRINUSE listen/);
  });

  test(`${way}: reusePort is a socket of each worker's own at one port`, async (t) => {
    const run = program(
      t,
      inWay(
        way,
        ({ port }) => {
          const server = require('node:net').createServer();
          const inode = () => require('node:fs').readlinkSync(`/proc/self/fd/${server._handle.fd}`);
          server.listen({ port, host: '127.0.0.1', reusePort: true }, () => console.log(`LISTENS ${server.address().port} ${inode()}`));
        },
        { port: await freePort() },
      ),
      await nodeWith(hasReusePort, 24),
    );
    await run.untilMany(2, /LISTENS/);
    const sockets = told(run, /LISTENS (\d+ .*)/);
    assert.equal(new Set(sockets.map((line) => line.split(' ')[0])).size, 1, run.stdout);
    assert.equal(new Set(sockets).size, 2, run.stdout);
  });
}

for (const way of ways) {
  test(`${way}: a unix socket has the permissions that readableAll and writableAll say`, async (t) => {
    const place = folder(t);
    const run = program(
      t,
      inWay(
        way,
        ({ place }) => {
          process.umask(0o022);
          const both = require('node:net').createServer();
          both.listen({ path: `${place}/both`, readableAll: true, writableAll: true }, () => console.log('BOTH'));
          require('node:net').createServer().listen({ path: `${place}/writable`, writableAll: true }, () => console.log('WRITABLE'));
          require('node:net').createServer().listen({ path: `${place}/neither` }, () => console.log('NEITHER'));
        },
        { place },
      ),
    );
    for (const name of [/BOTH/, /WRITABLE/, /NEITHER/]) await run.untilMany(processesOf(way), name);
    // Whether other bits stay depends on libuv's version.
    const modeOf = (name) => fs.statSync(path.join(place, name)).mode;
    assert.equal(modeOf('both') & 0o666, 0o666);
    assert.equal(modeOf('writable') & 0o222, 0o222);
    assert.equal(modeOf('neither') & 0o777, 0o755);
  });

  test(`${way}: an abort closes the server, and 'close' comes`, async (t) => {
    const port = await freePort();
    const run = program(
      t,
      inWay(
        way,
        ({ port }) => {
          const abort = new AbortController();
          const server = require('node:net').createServer();
          server.on('close', () => console.log(`CLOSED ${server.listening}`));
          server.listen({ port, host: '127.0.0.1', signal: abort.signal }, () => console.log('LISTENS'));
          process.on('SIGUSR1', () => abort.abort());
          setInterval(() => {}, 1000);
          console.log(`PID ${process.pid}`);
        },
        { port },
      ),
    );
    await run.untilMany(processesOf(way), /LISTENS/);
    for (const pid of told(run, /PID (\d+)/)) process.kill(Number(pid), 'SIGUSR1');
    await run.untilMany(processesOf(way), /CLOSED false/);
    const [error] = await once(net.connect(port, '127.0.0.1'), 'error');
    // A connection that comes while the socket closes is reset.
    assert.match(error.code, /^(ECONNREFUSED|ECONNRESET)$/);
  });

  test(`${way}: listen() listens on a free port of all addresses, preferring IPv6`, { skip: noNetworks }, async (t) => {
    const run = program(
      t,
      inWay(way, () => {
        const server = require('node:net').createServer();
        server.listen(() => console.log(`LISTENS ${server.address().address} ${server.address().family} ${server.address().port > 0}`));
        const other = require('node:net').createServer();
        other.listen({ port: undefined }, () => console.log(`OTHER ${other.address().address}`));
      }),
      ownNetwork(),
    );
    await run.untilMany(processesOf(way), /LISTENS :: IPv6 true/);
    await run.untilMany(processesOf(way), /OTHER ::/);
  });
}

// node:cluster keeps its workers by their channel, and takes handles and descriptors for the primary's.
for (const way of ['one process', 'drover']) {
  test(`${way}: a server that is unref'd before it listens keeps no process`, async (t) => {
    const run = program(
      t,
      inWay(
        way,
        () => {
          const server = require('node:net').createServer();
          server.unref();
          server.listen(0, '127.0.0.1', () => console.log(`LISTENS ${server._handle.hasRef?.() ?? false}`));
          process.on('exit', (code) => console.log(`EXITS ${code}`));
        },
        { config: { processManagement: { respawn: false } } },
      ),
    );
    await run.untilMany(processesOf(way), /LISTENS false/);
    await run.untilMany(processesOf(way), /EXITS 0/);
  });

  test(`${way}: a server may listen on another's handle, and on a socket of the process's own`, async (t) => {
    const place = folder(t);
    const run = program(
      t,
      inWay(
        way,
        ({ place }) => {
          const net = require('node:net');
          const says = (word) => net.createServer((socket) => socket.end(`${word}\n`));
          const first = says('first');
          first.listen(0, '127.0.0.1', () => {
            const second = says('second').listen(first, () => console.log(`SECOND ${second.address().port}`));
            const { TCP, Pipe } = { TCP: first._handle.constructor, Pipe: pipe._handle.constructor };
            const bound = () => {
              const handle = new TCP(0);
              handle.bind('127.0.0.1', 0);
              return handle;
            };
            const third = says('third').listen({ fd: bound().fd }, () => console.log(`THIRD ${third.address().port}`));
            const fourth = says('fourth').listen({ handle: bound() }, () => console.log(`FOURTH ${fourth.address().port}`));
            const named = new Pipe(0);
            named.bind(`${place}/${process.pid}`);
            says('fifth').listen(named, () => console.log(`FIFTH ${place}/${process.pid}`));
          });
          const pipe = says('pipe').listen(`${place}/pipe`);
        },
        { place, config: { processManagement: { respawn: false } } },
      ),
    );
    for (const word of ['SECOND', 'THIRD', 'FOURTH', 'FIFTH']) {
      await run.untilMany(processesOf(way), new RegExp(word));
      for (const at of told(run, `${word} (.*)`)) {
        const connection = await tcp(/^\d+$/.test(at) ? Number(at) : at);
        assert.equal(await connection.line(), word.toLowerCase());
        connection.close();
      }
    }
  });

  test(`${way}: a descriptor that is no socket is Node's own error`, async (t) => {
    const run = program(
      t,
      inWay(way, () => {
        const fd = require('node:fs').openSync(__filename, 'r');
        for (const number of [fd, 9999]) {
          const server = require('node:net').createServer();
          server.on('error', (error) => console.log(`ERROR ${error}`)).listen({ fd: number });
        }
        require('node:net').createServer().listen(0, '127.0.0.1');
      }),
    );
    const errors = await run.untilMany(2 * processesOf(way), /ERROR (.*)/);
    assert.deepEqual(new Set(errors.map(([, error]) => error)), new Set(['Error: listen EINVAL: invalid argument']));
  });
}

test('a worker whose only server is exclusive becomes ready, and finishes its requests when it drains', async (t) => {
  const run = program(
    t,
    inWay(
      'drover',
      () => {
        const server = require('node:http').createServer((_, response) => {
          process.once('SIGUSR2', () => response.end('done'));
          console.log('BEGUN');
        });
        server.listen({ port: 0, host: '127.0.0.1', exclusive: true }, () => console.log(`LISTENS ${server.address().port}`));
      },
      { config: { workers: 1, logging: { level: 'info' } } },
    ),
  );
  await run.until(/ALL READY/);
  const [, port] = await run.until(/LISTENS (\d+)/);
  const answer = request(Number(port));
  await run.until(/BEGUN/);
  run.signal('SIGTERM');
  await run.event('worker:draining');
  for (const pid of run.others()) process.kill(pid, 'SIGUSR2');
  assert.equal((await answer).body, 'done');
  assert.deepEqual(await run.exit, { code: 0, signal: null }, run.output);
});

/** Programs whose app listens as `listen` says; { given } has what it needs. */
const environments = { 'a cluster': { CLUSTER_ENABLED: 'true' }, 'one process': { CLUSTER_ENABLED: 'false' } };

for (const [where, env] of Object.entries(environments)) {
  test(`app.listen in ${where} takes a path with its permissions`, async (t) => {
    const socket = path.join(folder(t), 'app.sock');
    const run = program(
      t,
      ({ socket }) => {
        process.umask(0o022);
        const app = require('drover').createServer({ cluster: { workers: 2 } });
        app.get('/', (_, response) => response.send('ok'));
        const server = app.listen({ path: socket, readableAll: true, writableAll: true }, () => console.log(`AT ${server.address()}`));
      },
      { given: { socket }, env },
    );
    await run.until(/AT .*app\.sock/);
    assert.equal(fs.statSync(socket).mode & 0o666, 0o666);
    assert.equal((await request(socket)).body, 'ok');
  });

  test(`app.start in ${where} takes Node's options, and a signal that ends it`, async (t) => {
    const port = await freePort();
    const run = program(
      t,
      ({ port }) => {
        const abort = new AbortController();
        const app = require('drover').createServer({ cluster: { workers: 2 } });
        app.get('/', (_, response) => response.send('ok'));
        app.start({ port, host: '127.0.0.1', backlog: 16, signal: abort.signal }).then(() => {
          if (app.isWorker) return;
          process.once('SIGUSR1', () => abort.abort());
          console.log(`STARTED ${app.address().port === port}`);
        });
      },
      { given: { port }, env },
    );
    await run.until(/STARTED true/);
    assert.equal((await request(port)).body, 'ok');
    run.signal('SIGUSR1');
    assert.deepEqual(await run.exit, { code: 0, signal: null }, run.output);
    await run.gone();
  });

  test(`app.listen in ${where} takes ipv6Only`, { skip: noNetworks }, async (t) => {
    const run = program(
      t,
      () => {
        const net = require('node:net');
        const app = require('drover').createServer({ cluster: { workers: 2 } });
        const server = app.listen({ port: 8080, host: '::', ipv6Only: true }, async () => {
          if (app.isWorker) return;
          const reach = (host) =>
            new Promise((resolve) => {
              const socket = net.connect(8080, host, () => resolve('open')).on('error', ({ code }) => resolve(code));
              socket.on('connect', () => socket.destroy());
            });
          console.log(`REACHES ${await reach('::1')} ${await reach('127.0.0.1')} ${server.address().family}`);
        });
      },
      { env, ...ownNetwork() },
    );
    await run.until(/REACHES open ECONNREFUSED IPv6/);
  });
}

test('app.listen with exclusive leaves the port to the workers', async (t) => {
  const run = program(
    t,
    () => {
      const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 2 } } });
      const server = app.listen({ port: 0, host: '127.0.0.1', exclusive: true }, () => {
        console.log(app.isPrimary ? `PRIMARY ${server.address()}` : `WORKER ${server.address().port}`);
      });
    },
    {},
  );
  await run.until(/PRIMARY null/);
  await run.untilMany(2, /WORKER \d+/);
  assert.equal(new Set(told(run, /WORKER (\d+)/)).size, 2, run.stdout);
});
