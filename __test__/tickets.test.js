'use strict';

// TLS session tickets: what one worker gave out another opens, as one process and node:cluster do; across rolls, deaths
// and changes of the keys. The keys are in no place where they can be read by accident.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { tlsEnvironment } = require('./helpers/certificate');
const { freePort } = require('./helpers/http');
const { program } = require('./helpers/program');
const { visit } = require('./helpers/tickets');

const VERSIONS = ['TLSv1.2', 'TLSv1.3'];
const KINDS = ['https', 'tls', 'http2'];

/** Serves over TLS in so many workers; what its connections need is in the environment. */
function serve({ port, kind, runner, workers, how }) {
  const fs = require('node:fs');
  const cluster = require('node:cluster');
  const { ClusterManager } = require('drover');
  const keys = Buffer.from('n'.repeat(16) + 'h'.repeat(16) + 'c'.repeat(16));
  const credentials = { key: fs.readFileSync(process.env.TLS_KEY_FILE), cert: fs.readFileSync(process.env.TLS_CERT_FILE) };
  const options = how === 'option' ? { ...credentials, ticketKeys: keys } : credentials;
  const body = () => `pid ${process.pid}`;
  const isWorker = runner === 'node:cluster' ? cluster.isWorker : process.env.CLUSTER_WORKER === 'true';
  if (isWorker || runner === 'process') {
    const answer = (_, response) => response.end(body());
    const server = {
      https: () => require('node:https').createServer(options, answer),
      tls: () =>
        require('node:tls').createServer(options, (socket) => {
          socket.on('error', () => {});
          socket.once('data', () => socket.end(body()));
        }),
      http2: () => require('node:http2').createSecureServer(options, answer),
    }[kind]();
    if (how === 'method') server.setTicketKeys(keys);
    if (how === 'name') server.addContext('localhost', credentials);
    if (how === 'renewed') server.once('listening', () => server.setSecureContext(credentials));
    if (how === 'callback') {
      const { createSecureContext } = require('node:tls');
      server.close();
      return require('node:https')
        .createServer({ SNICallback: (_, done) => setImmediate(done, null, createSecureContext(credentials)), ...options }, answer)
        .listen(port, '127.0.0.1', () => console.log('SERVES'));
    }
    return server.listen(port, '127.0.0.1', () => console.log(`SERVES ${server.getTicketKeys().toString('hex')} END`));
  }
  if (runner === 'node:cluster') {
    for (let at = 0; at < workers; at += 1) cluster.fork();
    return cluster.schedulingPolicy;
  }
  const manager = new ClusterManager({ workers });
  process.on('SIGUSR1', () => manager.restart().then(() => console.log('ROLLED')));
  return manager.start().then(() => console.log('STARTED'));
}

async function serving(t, given) {
  const port = await freePort();
  const { workers = 2, kind = 'https', runner = 'drover' } = given;
  const started = program(t, serve, { given: { ...given, port, workers, kind, runner }, env: tlsEnvironment(t) });
  const found = await started.untilMany(runner === 'process' ? 1 : workers, /SERVES(?: (\w+) END)?/);
  if (runner === 'drover') await started.until(/STARTED/);
  return { started, port, keys: found.map(([, key]) => key) };
}

/** Comes back so many times; every session but the first must be resumed. Resolves to the last one and who served. */
async function comeBack(port, options, times, session) {
  const pids = new Set();
  for (let visits = 0; visits < times; visits += 1) {
    const found = await visit(port, { ...options, session });
    assert.equal(found.resumed, session !== undefined, `visit ${visits} of ${options.kind} with ${options.version}`);
    assert.equal(found.version, options.version);
    ({ session } = found);
    pids.add(found.pid);
  }
  return { session, pids };
}

for (const runner of ['process', 'node:cluster', 'drover']) {
  test(`${runner}: a session is resumed by whoever serves it`, async (t) => {
    for (const kind of KINDS) {
      const { port, keys } = await serving(t, { runner, kind });
      for (const version of VERSIONS) {
        const { pids } = await comeBack(port, { kind, version }, 10);
        if (kind !== 'http2') assert.equal(pids.size, runner === 'process' ? 1 : 2, 'several served it');
      }
      assert.equal(new Set(keys).size, 1, 'every process tells the same keys');
    }
  });
}

test('a session is resumed after a roll and after a death', async (t) => {
  const { started, port } = await serving(t, { workers: 2 });
  const sessions = new Map();
  const again = async () => {
    for (const version of VERSIONS) {
      sessions.set(version, (await comeBack(port, { version }, 6, sessions.get(version))).session);
    }
  };
  await again();
  started.signal('SIGUSR1');
  await started.until(/ROLLED/);
  await again();
  process.kill(started.others()[0], 'SIGKILL');
  await started.untilMany(5, /SERVES/);
  await again();
});

for (const how of ['name', 'callback', 'renewed']) {
  const what = { name: 'of a name of its own', callback: 'that a callback gives', renewed: 'that was renewed' }[how];
  test(`a context ${what} takes part`, async (t) => {
    const { port } = await serving(t, { how });
    // In one process a session of such a context is what is tested beside: it must at least be served.
    const runs = { name: ['localhost', 'elsewhere'], callback: ['localhost'], renewed: [undefined] }[how];
    for (const servername of runs) for (const version of VERSIONS) await comeBack(port, { version, servername }, 8);
  });
}

for (const how of ['option', 'method']) {
  test(`ticket keys of the program’s own win: by ${how}`, async (t) => {
    const { port, keys } = await serving(t, { how });
    const own = Buffer.from('n'.repeat(16) + 'h'.repeat(16) + 'c'.repeat(16)).toString('hex');
    assert.deepEqual(keys, [own, own]);
    for (const version of VERSIONS) await comeBack(port, { version }, 8);
    const { ticket } = await visit(port, { version: 'TLSv1.2' });
    assert.equal(ticket.subarray(0, 16).toString(), 'n'.repeat(16), 'the ticket names its key');
  });
}

test('a ticket of a stranger costs a full handshake and no error', async (t) => {
  const [first, second] = [await serving(t, { workers: 1 }), await serving(t, { workers: 1 })];
  for (const version of VERSIONS) {
    const { session } = await visit(first.port, { version });
    const { resumed, pid } = await visit(second.port, { version, session });
    assert.deepEqual([resumed, pid > 0], [false, true]);
  }
});

test('the keys are in no environment, no argument, no output, and out of core files', async (t) => {
  const { started, port, keys } = await serving(t, { workers: 2 });
  const { ticket } = await visit(port, { version: 'TLSv1.2' });
  const key = Buffer.from(keys[0], 'hex');
  assert.deepEqual(ticket.subarray(0, 16), key.subarray(0, 16), 'these are the keys');
  const spellings = [key.toString('latin1'), key.subarray(16).toString('latin1'), key.subarray(16).toString('base64').slice(0, -4)];
  const logged = started.raw.replaceAll(/SERVES \w+ END/g, '') + started.stderr;
  for (const pid of [started.pid, ...started.others()]) {
    const read = (name) => fs.readFileSync(`/proc/${pid}/${name}`, 'latin1');
    for (const text of [read('environ'), read('cmdline'), logged]) {
      for (const secret of [...spellings, keys[0].slice(32)]) assert.ok(!text.includes(secret));
    }
    const [mapping] = read('smaps').split(/^(?=[\da-f]+-[\da-f]+ )/m).filter((text) => text.includes('drover-tickets'));
    assert.match(mapping, pid === started.pid ? /^\S+ rw-s/ : /^\S+ r--s/, 'workers read alone');
    assert.match(mapping, /^VmFlags:.* dc .*\bdd\b/m, 'not copied to children, not dumped');
    const open = fs.readdirSync(`/proc/${pid}/fd`).filter((fd) => {
      try {
        return fs.readlinkSync(`/proc/${pid}/fd/${fd}`).includes('drover-tickets');
      } catch {
        return false;
      }
    });
    assert.equal(open.length, pid === started.pid ? 1 : 0, 'a worker keeps no descriptor');
  }
});

/** Servers in one process over memory that the test changes as a primary does. */
function overMemory({ ports, tickets, lacksCallback }) {
  const fs = require('node:fs');
  const https = require('node:https');
  const memory = new ArrayBuffer(200);
  const epochs = new Uint32Array(memory, 0, 1);
  const make = (epoch) => require('node:crypto').randomFillSync(new Uint8Array(memory, 8 + (epoch % 4) * 48, 48));
  require(tickets).shareTickets(memory);
  [0, 1, 2].forEach(make);
  epochs[0] = 1;
  const options = { key: fs.readFileSync(process.env.TLS_KEY_FILE), cert: fs.readFileSync(process.env.TLS_CERT_FILE) };
  if (lacksCallback) {
    const { context } = require('node:tls').createSecureContext();
    Object.getPrototypeOf(context).enableTicketKeyCallback = undefined;
  }
  const server = https.createServer(options, (request, response) => {
    const [, verb, epoch] = request.url.split('/');
    if (verb === 'to') {
      if (epoch > epochs[0]) make(Number(epoch) + 1);
      epochs[0] = Number(epoch);
      server.getTicketKeys();
    }
    response.end(`pid ${process.pid}`);
  });
  server.listen(ports[0], '127.0.0.1', () => console.log('SERVES'));
}

for (const lacksCallback of [false, true]) {
  const what = lacksCallback ? 'costs one full handshake where Node lacks the callback' : 'opens the tickets of the key before';
  test(`a change of the keys ${what}`, async (t) => {
    const { request } = require('./helpers/http');
    const port = await freePort();
    const given = { ports: [port], tickets: path.join(__dirname, '..', 'lib', 'worker', 'tls-tickets.js'), lacksCallback };
    await program(t, overMemory, { given, env: tlsEnvironment(t) }).until(/SERVES/);
    const turn = (epoch) => request(port, { path: `/to/${epoch}`, secure: true });
    for (const version of VERSIONS) {
      await turn(1);
      const { session: first } = await comeBack(port, { version }, 3);
      await turn(2);
      const second = await visit(port, { version, session: first });
      assert.equal(second.resumed, !lacksCallback, `${version}: a ticket of the key before`);
      const third = await visit(port, { version, session: second.session });
      assert.equal(third.resumed, true);
      if (!lacksCallback) {
        await turn(1);
        assert.equal((await visit(port, { version, session: second.session })).resumed, true, 'by who has not seen the change yet');
        await turn(2);
      }
      await turn(3);
      await turn(4);
      const late = await visit(port, { version, session: first });
      assert.deepEqual([late.resumed, late.pid > 0], [false, true], `${version}: a ticket of long ago`);
    }
  });
}

