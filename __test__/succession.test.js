'use strict';

// A roll takes no address away: a replacement is ready when it has opened every address that its predecessor serves. And
// what is said of workers that serve different addresses, and of an address that nobody serves any more.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { datagram, freePort, request } = require('./helpers/http');
const { folder, program } = require('./helpers/program');

/** A cluster whose workers run `body`; SIGHUP rolls it. */
function cluster(t, body, { config, ...given } = {}) {
  const text = `'use strict';
    const given = ${JSON.stringify(given)};
    if (process.env.CLUSTER_WORKER) return (${body})(given);
    const { ClusterManager } = require('drover');
    const config = { workers: 2, monitoring: { enabled: false }, logging: { level: 'info' } };
    const manager = new ClusterManager({ ...config, ...${JSON.stringify(config ?? {})} });
    manager.on('alert', ({ severity, message }) => console.log('ALERT', severity, message));
    process.on('SIGHUP', () => {
      if (given.moved) process.env.PORT = String(given.moved);
      manager.restart().then(
        () => console.log('ROLLED'),
        (error) => console.log('REFUSED', error.name, error.code, error.message, JSON.stringify(error.cause?.details.addresses)),
      );
    });
    manager.start().then(() => console.log('ALL READY'));`;
  return program(t, `(() => {${text}})();`, { env: { PORT: String(given.port ?? 0) } });
}

/** Asks there until it is told to stop; resolves to the answers, of which each one is good. */
async function visits(address, until) {
  let over = false;
  const ended = until.finally(() => {
    over = true;
  });
  let count = 0;
  while (!over) {
    const { status } = await request(address);
    assert.equal(status, 200);
    count += 1;
  }
  await ended;
  return count;
}

/** Opens its first address at once and the second later. */
function opensLater({ first, second, delay }) {
  const http = require('node:http');
  const answer = (_, response) => response.end('ok');
  http.createServer(answer).listen(first);
  setTimeout(() => http.createServer(answer).listen(second, () => console.log('SECOND')), delay);
}

for (const workers of [1, 2]) {
  for (const kind of ['port', 'unix socket']) {
    test(`${workers} worker(s): a second ${kind} that opens later is served throughout a roll`, async (t) => {
      const port = await freePort();
      const place = kind === 'port' ? port : `${folder(t)}/second.sock`;
      const options = (where) => (typeof where === 'number' ? { port: where, host: '127.0.0.1' } : { path: where });
      const given = { first: options(await freePort()), second: options(place), delay: 800 };
      const run = cluster(t, opensLater, { ...given, config: { workers } });
      await run.untilMany(workers, /SECOND/);
      await run.until(/ALL READY/);
      run.signal('SIGHUP');
      assert.ok((await visits(place, run.until(/ROLLED|REFUSED.*/))) > 0);
      assert.match(run.output, /ROLLED/);
      assert.doesNotMatch(run.output, /ALERT/);
    });
  }
}

test('a replacement that moves to another port ends the roll, which names the address; the old workers serve on', async (t) => {
  const port = await freePort();
  const moves = ({ port: wanted }) => {
    const net = require('node:net');
    const open = (there) =>
      require('node:http').createServer((_, response) => response.end('ok')).listen(there, '127.0.0.1');
    const probe = net.connect(wanted, '127.0.0.1');
    probe.on('connect', () => (probe.destroy(), open(0)));
    probe.on('error', () => setTimeout(open, 300, wanted));
  };
  const run = cluster(t, moves, { port, config: { processManagement: { startupTimeout: 2000 } } });
  await run.until(/ALL READY/);
  run.signal('SIGHUP');
  await visits(port, run.until(/REFUSED.*/));
  assert.match(run.output, new RegExp(`REFUSED WorkerStartupError .*did not serve 127\\.0\\.0\\.1:${port} in 2 s`));
  assert.match(run.output, new RegExp(`\\["127\\.0\\.0\\.1:${port}"\\]$`, 'm'));
  assert.equal((await request(port)).status, 200);
});

test('a datagram socket that is bound later is waited for', async (t) => {
  const port = await freePort();
  const binds = ({ port: there }) => {
    require('node:http').createServer((_, response) => response.end('ok')).listen(there, '127.0.0.1');
    const socket = require('node:dgram').createSocket('udp4');
    socket.on('message', (message, from) => socket.send(`${message} of ${process.pid}`, from.port, from.address));
    setTimeout(() => socket.bind(there, '127.0.0.1', () => console.log('BOUND', process.pid)), 1500);
  };
  const run = cluster(t, binds, { port, config: { workers: 1 } });
  await run.until(/BOUND/);
  await run.until(/ALL READY/);
  run.signal('SIGHUP');
  await run.until(/ROLLED/);
  const bound = [...run.output.matchAll(/BOUND (\d+)/g)].map(([, pid]) => pid);
  assert.equal(bound.length, 2, 'the roll ended after the second worker had bound it');
  assert.equal(await datagram(port), `hello of ${bound[1]}`);
});

test('a program that says itself when it is ready may give up an address: that is logged, and the loss is an alert', async (t) => {
  const port = await freePort();
  const giving = ({ port: there, marker }) => {
    const http = require('node:http');
    const answer = (_, response) => response.end('ok');
    const fs = require('node:fs');
    const isFirst = !fs.existsSync(marker);
    http.createServer(answer).listen(there, '127.0.0.1', () => {
      if (!isFirst) return process.send('ready');
      http.createServer(answer).listen(there + 1, '127.0.0.1', () => {
        fs.writeFileSync(marker, '');
        process.send('ready');
      });
    });
  };
  const config = { workers: 1, processManagement: { ready: 'message' } };
  const run = cluster(t, giving, { port, marker: `${folder(t)}/first`, config });
  await run.until(/ALL READY/);
  run.signal('SIGHUP');
  await run.until(/ROLLED/);
  await run.until(/ALERT error /);
  await run.event('alert', { cause: 'address_lost', address: `127.0.0.1:${port + 1}` });
  await run.event('address:given-up', { worker: '0', addresses: [`127.0.0.1:${port + 1}`] });
  assert.equal((await request(port)).status, 200);
});

test('a program whose environment names another port now gives the old one up', async (t) => {
  const [port, moved] = [await freePort(), await freePort()];
  const serves = () =>
    require('node:http').createServer((_, response) => response.end('ok')).listen(Number(process.env.PORT), '127.0.0.1');
  const run = cluster(t, serves, { port, moved });
  await run.until(/ALL READY/);
  run.signal('SIGHUP');
  await run.until(/ROLLED/);
  assert.equal((await request(moved)).status, 200);
  await run.event('address:given-up', { worker: '0', addresses: [`127.0.0.1:${port}`] });
});

for (const [what, workers] of [
  ['a port that one worker of two', 2],
  ['a port of the kernel’s choice that a worker', 1],
]) {
  test(`${what} opened in the course of its work holds up no roll`, async (t) => {
    const port = await freePort();
    const opening = ({ port: there, late }) => {
      const http = require('node:http');
      const server = http.createServer((request, response) => {
        if (request.url !== '/open') return response.end('ok');
        const more = http.createServer((_, other) => other.end('late'));
        return more.listen(late, '127.0.0.1', () => response.end('opened'));
      });
      server.listen(there, '127.0.0.1', () => setTimeout(() => console.log('STARTED'), 1200));
    };
    const config = { workers, processManagement: { startupTimeout: 20_000 } };
    const run = cluster(t, opening, { port, late: workers === 1 ? 0 : port + 1, config });
    await run.untilMany(workers, /STARTED/);
    assert.equal((await request(port, { path: '/open' })).body, 'opened');
    run.signal('SIGHUP');
    await run.until(/ROLLED/, 15_000);
  });
}

test('a worker that serves another address than its siblings at the first start is said, by address', async (t) => {
  const port = await freePort();
  const parts = ({ port: there }) => {
    const own = process.env.WORKER_ID === '1' ? there + 1 : there;
    require('node:http').createServer((_, response) => response.end('ok')).listen(own, '127.0.0.1');
  };
  const run = cluster(t, parts, { port, config: { workers: 3 } });
  const [first, second] = await run.eventMany(2, 'address:uneven');
  const told = ({ level, address, servedBy, missingFrom }) => ({ level, address, servedBy, missingFrom });
  assert.deepEqual(told(first), { level: 40, address: `127.0.0.1:${port}`, servedBy: ['0', '2'], missingFrom: ['1'] });
  assert.deepEqual(told(second), { level: 40, address: `127.0.0.1:${port + 1}`, servedBy: ['1'], missingFrom: ['0', '2'] });
});

test('an address that loses its last server is an error and an alert at once, and its return is said', async (t) => {
  const port = await freePort();
  const serves = ({ port: there }) =>
    require('node:http').createServer((_, response) => response.end('ok')).listen(there, '127.0.0.1');
  const run = cluster(t, serves, { port, config: { workers: 1 } });
  await run.until(/ALL READY/);
  process.kill(run.workers()[0], 'SIGKILL');
  await run.until(/ALERT error /);
  await run.event('alert', { cause: 'address_lost', address: `127.0.0.1:${port}` });
  await run.event('address:regained', { address: `127.0.0.1:${port}` });
  assert.equal((await run.event('alert', { cause: 'address_lost', address: `127.0.0.1:${port}` })).level, 50);
  assert.equal((await request(port)).status, 200);
});

test('a stop loses no address: nothing is said', async (t) => {
  const port = await freePort();
  const serves = ({ port: there }) =>
    require('node:http').createServer((_, response) => response.end('ok')).listen(there, '127.0.0.1');
  const run = cluster(t, serves, { port });
  await run.until(/ALL READY/);
  run.signal('SIGTERM');
  await run.exit;
  assert.deepEqual(run.events('alert'), []);
});
