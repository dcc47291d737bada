'use strict';

// drover/socket.io between the machines of a fleet.

const assert = require('node:assert/strict');
const { once } = require('node:events');
const { before, test } = require('node:test');
const { io: connect } = require('socket.io-client');
const { freePort, request } = require('./helpers/http');
const { program } = require('./helpers/program');
const { redisProgram, startRedis } = require('./helpers/redis');
const { skip } = require('./helpers/skip');

let lacks = false;
before(async () => {
  if ((await redisProgram()) === undefined) lacks = 'there is no redis-server, and it may not be installed';
});

/** The program of each machine: what its clients may ask for is sent to all. */
function serving({ port, redis, recovers, library }) {
  const http = require('node:http');
  const { Server } = require(library);
  const { createServer } = require('drover');
  const { createAdapter } = require('drover/socket.io');
  const server = http.createServer(async (incoming, response) => {
    const found = incoming.url === '/members' ? await app.fleet.members() : await io.fetchSockets();
    response.end(String(found.length));
  });
  const app = createServer({ app: server, redis, cluster: { enabled: true, config: { workers: 2 } } });
  const io = new Server(server, { adapter: createAdapter(app), transports: ['websocket'], ...(recovers ? { connectionStateRecovery: {} } : {}) });
  io.on('connection', (socket) => {
    socket.on('join', (room, done) => {
      socket.join(room);
      done();
    });
    socket.on('emit', (room, ...args) => (room === '' ? io : io.to(room)).emit(...args));
    socket.on('except', (room, ...args) => io.except(room).emit(...args));
    socket.on('move', async (from, to, done) => {
      await io.in(from).socketsJoin(to);
      done();
    });
    socket.on('ask', async (done) => done(await io.timeout(5000).emitWithAck('question')));
    socket.on('servers', async (done) => done(await io.serverSideEmitWithAck('who')));
    socket.on('large', (count, size) => {
      for (let at = 0; at < count; at += 1) io.emit('large', `${at} ${'x'.repeat(size)}`);
      io.emit('end');
    });
    socket.on('drop', () => socket.conn.close());
  });
  io.on('who', (done) => done(process.pid));
  app.start(port, '127.0.0.1');
}

async function clientOf(t, port) {
  const client = connect(`http://127.0.0.1:${port}`, { transports: ['websocket'], forceNew: true, reconnectionDelay: 10 });
  t.after(() => client.close());
  client.on('question', (done) => done(client.id));
  await once(client, 'connect');
  return client;
}

/** What a client gets until the marker that is sent last; without the offsets of recovery. */
function gets(client) {
  const all = [];
  return new Promise((resolve) => {
    client.onAny((event, ...args) => (event === 'end' ? resolve(all) : all.push([event, args[0]])));
  });
}

async function world(t, recovers) {
  const redis = await startRedis(t);
  const options = { host: '127.0.0.1', port: redis.port, prefix: 'test:', timeout: '10s' };
  const start = async () => {
    const port = await freePort();
    const given = { port, redis: options, recovers, library: require.resolve('socket.io') };
    await program(t, serving, { given }).event('cluster:started');
    return { port };
  };
  const machines = await Promise.all([start(), start()]);
  for (const { port } of machines) while ((await request(port, { path: '/members' })).body !== '2');
  const clients = await Promise.all([...machines, ...machines].map(({ port }) => clientOf(t, port)));
  // Each server knows the sockets of all others by then.
  for (const { port } of machines) while ((await request(port, { path: '/sockets' })).body !== '4');
  return { redis, machines, clients };
}

for (const [mode, recovers] of [['messages', false], ['log', true]]) {
  test(`${mode}: what is sent on one machine reaches the sockets of all that it is for, once and in its order`, async (t) => {
    if (lacks) return skip(t, lacks);
    const { clients } = await world(t, recovers);
    const [first, second, third, fourth] = clients;
    await second.emitWithAck('join', 'room');
    await third.emitWithAck('join', 'room');
    const all = clients.map(gets);
    for (let at = 0; at < 50; at += 1) first.emit('emit', '', 'all', at);
    first.emit('emit', 'room', 'room', 1);
    first.emit('except', 'room', 'others', 2);
    await first.emitWithAck('move', 'room', 'later');
    first.emit('emit', 'later', 'later', 3);
    first.emit('emit', fourth.id, 'one', 4);
    first.emit('emit', '', 'end');
    const numbers = Array.from({ length: 50 }, (_, at) => ['all', at]);
    const [one, two, three, four] = await Promise.all(all);
    assert.deepEqual(one, [...numbers, ['others', 2]]);
    assert.deepEqual(two, [...numbers, ['room', 1], ['later', 3]]);
    assert.deepEqual(three, [...numbers, ['room', 1], ['later', 3]]);
    assert.deepEqual(four, [...numbers, ['others', 2], ['one', 4]]);
    const answers = await first.emitWithAck('ask');
    assert.deepEqual(answers.sort(), clients.map(({ id }) => id).sort());
    const pids = await first.emitWithAck('servers');
    assert.equal(new Set(pids).size, 3, 'the other three workers');
  });
}

test('packets of one turn that do not fit in one message reach other machines too, in their order', async (t) => {
  if (lacks) return skip(t, lacks);
  const { clients } = await world(t, true);
  const heard = gets(clients[1]);
  clients[0].emit('large', 100, 30_000);
  const numbers = (await heard).map(([, text]) => Number.parseInt(text, 10));
  assert.deepEqual(numbers, Array.from({ length: 100 }, (_, at) => at));
});

test('a client recovers at its machine what another machine has sent meanwhile', async (t) => {
  if (lacks) return skip(t, lacks);
  const { clients } = await world(t, true);
  const [first, second] = clients;
  await second.emitWithAck('join', 'room');
  const heard = gets(second);
  first.emit('emit', 'room', 'before', 1);
  await once(second, 'before');
  const back = once(second, 'connect');
  second.emit('drop');
  await once(second, 'disconnect');
  first.emit('emit', 'room', 'missed', 2);
  await back;
  assert.equal(second.recovered, true);
  first.emit('emit', 'room', 'after', 3);
  first.emit('emit', 'room', 'end');
  assert.deepEqual(await heard, [['before', 1], ['missed', 2], ['after', 3]]);
});
