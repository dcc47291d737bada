'use strict';

// A cluster that cannot listen ends as a single Node.js process would: with Node's own error, a code that is
// not 0, and nothing left behind.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { failureCluster, nobody, program } = require('./helpers/program');
const { isBun } = require('./helpers/runtime');

const httpApp = path.join(__dirname, 'fixtures', 'apps', 'http.js');

/** The ways to begin, each as a program. */
const ways = {
  start: ({ port, host }) => {
    const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 2 } } });
    app.start(port, host).catch((error) => {
      console.log(`ERROR ${JSON.stringify({ ...error })}`);
      throw error;
    });
  },
  listen: ({ port, host }) => {
    const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 2 } } });
    process.on('uncaughtExceptionMonitor', (error) => console.log(`ERROR ${JSON.stringify({ ...error })}`));
    app.listen(port, host, () => console.log('listening'));
  },
  'listen with an error listener': ({ port, host }) => {
    const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 2 } } });
    app.listen(port, host).on('error', (error) => {
      console.log(`ERROR ${JSON.stringify({ ...error })}`);
      process.exitCode = 1;
    });
  },
};

/** What Node's own server says of the place. */
async function ownError(port, host) {
  const server = net.createServer();
  try {
    server.listen(port, host);
    const [error] = await once(server, 'error');
    return { ...error };
  } catch (error) {
    return { ...error };
  }
}

/** Bun's error of a lookup has the number of its own resolver, and its name. */
function comparable({ name, errno, ...error }) {
  return isBun && error.syscall === 'getaddrinfo' ? error : { ...(name && { name }), ...(errno && { errno }), ...error };
}

async function failsLikeNode(t, way, port, host) {
  const expected = await ownError(port, host);
  assert.ok(expected.code, 'Node itself can listen there');
  const cluster = program(t, ways[way], { given: { port, host } });
  const { code } = await cluster.exit;
  assert.equal(code, 1, cluster.output);
  const [, told] = await cluster.until(/ERROR (.*)/);
  assert.deepEqual(comparable(JSON.parse(told)), comparable(expected));
  assert.doesNotMatch(cluster.output, /^listening$/m);
  await cluster.gone();
}

async function plainServer(t) {
  const server = require('node:http').createServer((_, response) => response.end('plain'));
  t.after(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

for (const way of Object.keys(ways)) {
  test(`${way}: a port that a plain server holds is EADDRINUSE`, async (t) => {
    const port = await plainServer(t);
    await failsLikeNode(t, way, port, '127.0.0.1');
    assert.equal((await request(port)).body, 'plain');
  });

  test(`${way}: a host that is not this machine's is Node's own error`, async (t) => {
    // An address of the documentation's (RFC 5737) is nobody's.
    await failsLikeNode(t, way, await freePort(), '192.0.2.1');
  });

  test(`${way}: a name without an address is Node's own error`, async (t) => {
    await failsLikeNode(t, way, await freePort(), 'nowhere.invalid');
  });

  for (const port of [65_536, -1, 1.5]) {
    test(`${way}: ${port} is no port`, async (t) => {
      await failsLikeNode(t, way, port, '127.0.0.1');
    });
  }

  const lowest = Number(fs.readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8'));
  const skip = lowest < 2 && 'every port is free for every user here';
  test(`${way}: a privileged port is EACCES for an ordinary user`, { skip }, async (t) => {
    const cluster = program(t, ways[way], { given: { port: 1, host: '127.0.0.1' }, ...nobody });
    assert.equal((await cluster.exit).code, 1, cluster.output);
    const [, told] = await cluster.until(/ERROR (.*)/);
    assert.deepEqual(JSON.parse(told), {
      code: 'EACCES',
      errno: -13,
      syscall: 'listen',
      address: '127.0.0.1',
      port: 1,
    });
    await cluster.gone();
  });
}

test('a second cluster on a taken port is refused, and the first one serves on', async (t) => {
  const port = await freePort();
  const first = failureCluster(t, { port, config: { loadBalancing: { healthAware: false } } });
  await first.until(/the cluster is ready/);
  const workers = first.others();

  const second = failureCluster(t, { port });
  assert.equal((await second.exit).code, 1, second.output);
  assert.match(second.stderr, /listen EADDRINUSE: address already in use 127\.0\.0\.1/);
  assert.deepEqual(second.events('worker:ready'), []);
  await second.gone();

  assert.deepEqual(first.others(), workers);
  const answers = [];
  for (let visit = 0; visit < 10; visit += 1) answers.push((await request(port)).json().pid);
  assert.deepEqual([...new Set(answers)].sort(), [...workers].sort());
});

test('an unmodified program that finds its port taken fails the start with its own error', async (t) => {
  const port = await plainServer(t);
  const cluster = program(
    t,
    ({ exec, port }) => {
      const { ClusterManager } = require('drover');
      const processManagement = { maxRestarts: 1, restartDelay: 10 };
      const manager = new ClusterManager({ workers: 2, exec, processManagement }, port);
      manager.start().catch((error) => {
        const { code, syscall, port } = error;
        console.log(`ERROR ${JSON.stringify({ code, syscall, port })}`);
        throw error;
      });
    },
    { given: { exec: httpApp, port } },
  );
  assert.equal((await cluster.exit).code, 1, cluster.output);
  const [, told] = await cluster.until(/ERROR (.*)/);
  assert.equal(JSON.parse(told).code, 'EADDRINUSE');
  await cluster.gone();
  assert.equal((await request(port)).body, 'plain');
});

test('a start that failed for its port may be tried again on another', async (t) => {
  const taken = await plainServer(t);
  const free = await freePort();
  const cluster = program(
    t,
    async ({ taken, free }) => {
      const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 1 } } });
      app.get('/', (_, response) => response.send('second try'));
      await app.start(app.isPrimary ? taken : free, '127.0.0.1').catch(() => app.start(free, '127.0.0.1'));
      if (app.isPrimary) console.log('the cluster is ready');
    },
    { given: { taken, free } },
  );
  await cluster.until(/the cluster is ready/);
  assert.equal((await request(free)).body, 'second try');
});

/** Listens on one more port for who asks, and says what came of it. */
function listening({ port }) {
  const http = require('node:http');
  const net = require('node:net');
  const { createServer } = require('drover');
  const server = http.createServer((request, response) => {
    if (request.url === '/') return response.end();
    const tell = (error) => response.end(JSON.stringify({ ...error }));
    net.createServer().once('error', tell).listen(0, '127.0.0.1', () => tell());
  });
  const app = createServer({ app: server, cluster: { enabled: true, config: { workers: 1 } } });
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('the cluster is ready'));
}

test('a worker that would listen while its primary is stopped waits half a minute, and is told ETIMEDOUT', async (t) => {
  const port = await freePort();
  const cluster = program(t, listening, { given: { port } });
  await cluster.until(/the cluster is ready/);
  const agent = new http.Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const get = async (path) => {
    const [response] = await once(http.get({ port, host: '127.0.0.1', path, agent }), 'response');
    return (await response.setEncoding('utf8').toArray()).join('');
  };
  await get('/');
  await cluster.freeze();
  t.after(() => cluster.signal('SIGCONT'));
  const { code, syscall } = JSON.parse(await get('/listen'));
  assert.deepEqual([code, syscall], ['ETIMEDOUT', 'listen']);
  cluster.signal('SIGCONT');
  assert.equal((await cluster.stop()).code, 0, cluster.output);
});
