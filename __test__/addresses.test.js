'use strict';

// Addresses as Node and node:cluster give them: port 0, several ports, every family, unix sockets, datagrams;
// and who may be asked about the workers.

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { test } = require('node:test');
const { datagram, freePort, request } = require('./helpers/http');
const { failureCluster, folder, noNetworks, ownNetwork, program } = require('./helpers/program');
const { printed, runtime } = require('./helpers/runtime');

/** So many answers, each on a connection of its own. */
const ask = async (address, count, options) => {
  const answers = [];
  for (let visit = 0; visit < count; visit += 1) answers.push(await request(address, options));
  return answers;
};

test('listen(0) gives every worker the same free port, and a second listen(0) another one', async (t) => {
  const cluster = program(t, () => {
    const http = require('node:http');
    const { ClusterManager } = require('drover');
    if (process.env.CLUSTER_WORKER !== 'true') {
      new ClusterManager({ workers: 3, loadBalancing: { healthAware: false } }).start().then(() => console.log('STARTED'));
      return;
    }
    const serve = (name) => http.createServer((_, response) => response.end(`${name} ${process.pid}`));
    const [first, second] = [serve('first'), serve('second')];
    first.listen(0, '127.0.0.1', () => {
      second.listen(0, '127.0.0.1', () => {
        console.log(`PORTS ${first.address().port} ${second.address().port}`);
      });
    });
  });
  await cluster.until(/STARTED/);
  await cluster.untilMany(3, /PORTS/);
  const told = [...cluster.stdout.matchAll(/PORTS (\d+) (\d+)/g)].map(([, ...ports]) => ports.map(Number));
  const [[first, second]] = told;
  assert.deepEqual(told, [told[0], told[0], told[0]]);
  assert.notEqual(first, second);
  for (const [port, name] of [
    [first, 'first'],
    [second, 'second'],
  ]) {
    const bodies = (await ask(port, 9)).map(({ body }) => body.split(' '));
    assert.deepEqual([...new Set(bodies.map(([who]) => who))], [name]);
    assert.equal(new Set(bodies.map(([, pid]) => pid)).size, 3);
  }
});

test('start on port 0 reports the port in the primary and in the workers', async (t) => {
  const cluster = program(t, async () => {
    const app = require('drover').createServer({ cluster: { enabled: true, config: { workers: 2 } } });
    app.get('/', (_, response) => response.json(app.address()));
    await app.start(0, '127.0.0.1');
    if (app.isPrimary) console.log(`AT ${JSON.stringify({ address: app.address(), workers: app.getAllWorkers() })}`);
  });
  const [, told] = await cluster.until(/AT (.*)/);
  const { address, workers } = JSON.parse(told);
  assert.deepEqual([address.address, address.family], ['127.0.0.1', 'IPv4']);
  assert.ok(address.port > 0);
  for (const answer of await ask(address.port, 4)) assert.deepEqual(answer.json(), address);
  assert.deepEqual(
    workers.map(({ port }) => port),
    [address.port, address.port],
  );
});

test('getAllWorkers returns the same in the primary and in every worker', async (t) => {
  const port = await freePort();
  const cluster = program(
    t,
    ({ port }) => {
      const http = require('node:http');
      // A check between two answers would make them differ.
      const config = { workers: 2, healthCheck: { enabled: false }, loadBalancing: { healthAware: false } };
      const app = require('drover').createServer({ cluster: { enabled: true, config } });
      app.get('/', (_, response) => response.json(app.getAllWorkers()));
      app.start(port, '127.0.0.1').then(() => {
        if (app.isWorker) return;
        const control = http.createServer((_, response) => response.end(JSON.stringify(app.getAllWorkers())));
        control.listen(0, '127.0.0.1', () => console.log(`CONTROL ${control.address().port}`));
      });
    },
    { given: { port } },
  );
  const [, control] = await cluster.until(/CONTROL (\d+)/);
  // What the question itself changes is left out, and what is sampled each second, also between two answers.
  const lasting = ({ uptime, requestCount, activeRequests, activeConnections, averageResponseTime, ...rest }) => {
    const { memoryUsage, cpuUsage, eventLoopLag, heap, ...told } = rest;
    const counts = [uptime, requestCount, activeRequests, activeConnections, averageResponseTime];
    for (const number of counts) assert.ok(number >= 0, JSON.stringify(counts));
    const samples = [memoryUsage, cpuUsage, eventLoopLag];
    for (const number of samples) assert.ok(number === null || number >= 0, JSON.stringify(samples));
    assert.ok(heap === null || heap.total >= heap.used, JSON.stringify(heap));
    return told;
  };
  const fromPrimary = (await request(Number(control))).json();
  const pids = fromPrimary.map(({ pid }) => pid);
  assert.deepEqual(pids.toSorted(), cluster.others().toSorted());
  assert.deepEqual(
    fromPrimary.map(({ id, workerId, state, status, generation, restarts }) => [id, workerId, state, status, generation, restarts]),
    [
      ['0', '0', 'running', 'running', 1, 0],
      ['1', '1', 'running', 'running', 1, 0],
    ],
  );
  for (const { startTime } of fromPrimary) assert.ok(Math.abs(Date.now() - startTime) < 60_000);
  for (const answer of await ask(port, 4)) assert.deepEqual(answer.json().map(lasting), fromPrimary.map(lasting));
  const counted = (await request(Number(control))).json().reduce((sum, { requestCount }) => sum + requestCount, 0);
  assert.equal(counted, 4);
});

test('responses name their worker outside production, and in production when asked to', async (t) => {
  const headersOf = async (env, options) => {
    const port = await freePort();
    const cluster = program(
      t,
      ({ port, options }) => {
        const config = { workers: 2, loadBalancing: { healthAware: false } };
        const app = require('drover').createServer({ ...options, cluster: { enabled: true, config } });
        app.get('/', (_, response) => response.send(`${process.pid}`));
        app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('STARTED'));
      },
      { given: { port, options }, env },
    );
    await cluster.until(/STARTED/);
    const answers = await ask(port, 4);
    for (const { headers, body } of answers.filter((answer) => 'x-worker-pid' in answer.headers)) {
      assert.equal(headers['x-worker-pid'], body);
    }
    return [...new Set(answers.map(({ headers }) => headers['x-worker-id']))].toSorted();
  };
  assert.deepEqual(await headersOf({ NODE_ENV: undefined }, {}), ['0', '1']);
  assert.deepEqual(await headersOf({ NODE_ENV: 'production' }, {}), [undefined]);
  assert.deepEqual(await headersOf({ NODE_ENV: 'production' }, { exposeWorkerHeaders: true }), ['0', '1']);
  assert.deepEqual(await headersOf({ NODE_ENV: undefined }, { exposeWorkerHeaders: false }), [undefined]);
});

test('a unix socket is served by all workers and unlinked by the primary at the end', async (t) => {
  const socket = path.join(folder(t), 'app.sock');
  const serve = async () => {
    const cluster = failureCluster(t, { port: socket, config: { loadBalancing: { healthAware: false } } });
    await cluster.until(/the cluster is ready/);
    return cluster;
  };
  const first = await serve();
  const pids = new Set((await ask(socket, 6)).map((answer) => answer.json().pid));
  assert.deepEqual([...pids].toSorted(), first.others().toSorted());
  // A worker's death leaves the file where it is.
  process.kill([...pids][0], 'SIGKILL');
  await first.eventMany(3, 'worker:ready');
  assert.equal((await ask(socket, 4)).length, 4);
  assert.equal((await first.stop()).code, 0);
  assert.equal(fs.existsSync(socket), false);
});

test('the socket file of a killed primary is reused, and one in use is not', async (t) => {
  const socket = path.join(folder(t), 'app.sock');
  const first = failureCluster(t, { port: socket });
  await first.until(/the cluster is ready/);
  const refused = failureCluster(t, { port: socket });
  assert.equal((await refused.exit).code, 1);
  assert.match(refused.stderr, new RegExp(`listen EADDRINUSE: address already in use ${socket}`));
  assert.equal((await request(socket)).status, 200, 'the first one is unharmed');

  // The one in a loop holds the socket until the kernel ends it.
  await request(socket, { path: '/spin' });
  first.signal('SIGKILL');
  const second = failureCluster(t, { port: socket });
  await second.until(/the cluster is ready/);
  assert.ok(second.others().includes((await request(socket)).json().pid));
  await second.stop();
  await first.gone();
});

test('a socket file in a missing folder fails with Node’s error', async (t) => {
  const socket = path.join(folder(t), 'nowhere', 'app.sock');
  const cluster = failureCluster(t, { port: socket });
  assert.equal((await cluster.exit).code, 1);
  const plain = net.createServer().listen(socket);
  const [{ message }] = await once(plain, 'error');
  assert.ok(cluster.stderr.includes(message), `${message}\n${cluster.stderr}`);
});

test('a name in the abstract namespace is served as well', async (t) => {
  const name = `\0drover-test-${process.pid}`;
  const cluster = program(
    t,
    ({ name }) => {
      const net = require('node:net');
      const { ClusterManager } = require('drover');
      if (process.env.CLUSTER_WORKER !== 'true') {
        new ClusterManager({ workers: 2, loadBalancing: { healthAware: false } }).start().then(() => console.log('STARTED'));
        return;
      }
      net.createServer((socket) => socket.end(`${process.pid}\n`)).listen(name);
    },
    { given: { name } },
  );
  await cluster.until(/STARTED/);
  const pids = new Set();
  // Node.js 20 pads such names, others do not: the client is of the same runtime.
  const client = `require('node:net').connect(${JSON.stringify(name)}).pipe(process.stdout)`;
  for (let visit = 0; visit < 4; visit += 1) pids.add(execFileSync(runtime, ['-e', client], { encoding: 'utf8' }));
  assert.equal(pids.size, 2);
});

test('datagrams reach the workers through one socket; a port in use fails with Node’s error', async (t) => {
  const port = await freePort();
  const main = ({ port }) => {
    const dgram = require('node:dgram');
    const { ClusterManager } = require('drover');
    if (process.env.CLUSTER_WORKER !== 'true') {
      const processManagement = { maxRestarts: 0 };
      new ClusterManager({ workers: 2, processManagement }).start().then(() => console.log('STARTED'));
      return;
    }
    const socket = dgram.createSocket('udp4');
    socket.on('message', (message, { port, address }) => socket.send(`${message} ${process.pid}`, port, address));
    // A callback of `bind` would swallow its error in Node 20.
    socket.on('listening', () => console.log(`BOUND ${socket.address().port}`)).bind(port, '127.0.0.1');
  };
  const cluster = program(t, main, { given: { port } });
  await cluster.until(/STARTED/);
  await cluster.untilMany(2, new RegExp(`BOUND ${port}`));
  for (let round = 0; round < 5; round += 1) {
    const [, pid] = (await datagram(port, 'hello')).match(/^hello (\d+)$/);
    assert.ok(cluster.others().includes(Number(pid)));
  }
  const second = program(t, main, { given: { port } });
  assert.equal((await second.exit).code, 1);
  const plain = require('node:dgram').createSocket('udp4').bind(port, '127.0.0.1');
  const [{ message }] = await once(plain, 'error');
  assert.match(second.stderr, new RegExp(printed('Error', message)));
});

/** Asks from within: `ASKED {"127.0.0.1": 200, "::1": "ECONNREFUSED"}` and the address that the server tells. */
function family({ listen }) {
  const http = require('node:http');
  const { ClusterManager } = require('drover');
  if (process.env.CLUSTER_WORKER === 'true') {
    const server = http.createServer((_, response) => response.end(`${process.pid}`));
    server.listen({ port: 3000, ...listen }, () => console.log(`ADDRESS ${JSON.stringify(server.address())}`));
    return;
  }
  const visit = (host) =>
    new Promise((resolve) => {
      const asked = http.get({ host, port: 3000, agent: false, family: host.includes(':') ? 6 : 4 }, (response) => {
        response.setEncoding('utf8').on('data', resolve);
      });
      asked.on('error', ({ code }) => resolve(code));
    });
  new ClusterManager({ workers: 2, loadBalancing: { healthAware: false } }).start().then(async () => {
    const seen = {};
    for (const host of ['127.0.0.1', '::1']) {
      const answers = [];
      for (let count = 0; count < 4; count += 1) answers.push(await visit(host));
      seen[host] = /^\d/.test(answers[0]) ? new Set(answers).size : answers[0];
    }
    console.log(`ASKED ${JSON.stringify(seen)}`);
  });
}

for (const [what, listen, address, seen, before] of [
  ['no host is every address, both families', {}, '::', { '127.0.0.1': 2, '::1': 2 }],
  ['ipv6Only is IPv6 alone', { host: '::', ipv6Only: true }, '::', { '127.0.0.1': 'ECONNREFUSED', '::1': 2 }],
  ["'::' is both families", { host: '::' }, '::', { '127.0.0.1': 2, '::1': 2 }],
  ["'0.0.0.0' is IPv4 alone", { host: '0.0.0.0' }, '0.0.0.0', { '127.0.0.1': 2, '::1': 'ECONNREFUSED' }],
  [
    'no host where no interface has IPv6 is every IPv4 address',
    {},
    '::',
    { '127.0.0.1': 2, '::1': 'EADDRNOTAVAIL' },
    'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6',
  ],
]) {
  test(`listen: ${what}`, { skip: noNetworks }, async (t) => {
    const cluster = program(t, family, { given: { listen }, ...ownNetwork(before) });
    const [, asked] = await cluster.until(/ASKED (.*)/);
    assert.deepEqual(JSON.parse(asked), seen);
    const [, told] = await cluster.until(/ADDRESS (.*)/);
    assert.equal(JSON.parse(told).address, address);
  });
}

for (const [what, name] of [
  ['a path', '/tmp/'],
  ['an abstract name', '\0'],
]) {
  test(`${what} of a unix socket that is too long is refused with EINVAL and not truncated`, async (t) => {
    const cluster = program(
      t,
      ({ name }) => {
        const { ClusterManager } = require('drover');
        if (process.env.CLUSTER_WORKER) {
          const tell = ({ code, syscall }) => console.log('REFUSED', code, syscall);
          return void require('node:net').createServer().on('error', tell).listen({ path: name.padEnd(200, 'x') });
        }
        const processManagement = { ready: 'boot', respawn: false };
        new ClusterManager({ workers: 1, processManagement, monitoring: { port: false } }).start().catch(() => {});
      },
      { given: { name } },
    );
    await cluster.until(/REFUSED EINVAL listen/);
  });
}
