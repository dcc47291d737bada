'use strict';

// drover/socket.io: servers of one process, the workers of a cluster, and connection state recovery through rolls and kills.

const assert = require('node:assert/strict');
const http = require('node:http');
const path = require('node:path');
const { once } = require('node:events');
const { test } = require('node:test');
const { Server } = require('socket.io');
const { io: connect } = require('socket.io-client');
const { createServer } = require('..');
const { createAdapter } = require('../lib/adapters/socket.io');
const recovery = require('../lib/adapters/socket.io/recovery');
const { recovered } = require('./helpers/recovery');
const { run } = require('./helpers/run');

const NODES = 3;

/** Servers in this process, with a client each. */
async function servers(t, options = {}) {
  const app = createServer({ app: http.createServer(() => {}), cluster: { enabled: false } });
  const nodes = [];
  for (let at = 0; at < NODES; at += 1) {
    const server = http.createServer();
    const io = new Server(server, { adapter: createAdapter(app), transports: ['websocket'], ...options });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    t.after(() => io.close());
    const connected = once(io, 'connection');
    const client = clientOf(t, server.address().port);
    const [socket] = await connected;
    if (!client.connected) await once(client, 'connect');
    nodes.push({ io, client, socket, port: server.address().port });
  }
  return { app, nodes };
}

function clientOf(t, port, options = {}) {
  const client = connect(`http://127.0.0.1:${port}`, { transports: ['websocket'], forceNew: true, reconnectionDelay: 10, ...options });
  t.after(() => client.close());
  return client;
}

/** What a client gets until the marker that is sent last. */
function gets(client) {
  const all = [];
  return new Promise((resolve) => {
    client.onAny((event, ...args) => (event === 'end' ? resolve(all) : all.push([event, ...args])));
  });
}

const without = (events, offset) => events.map((event) => (offset ? event.slice(0, -1) : event));

for (const [mode, options] of Object.entries({ messages: {}, log: { connectionStateRecovery: {} } })) {
  const isLog = mode === 'log';

  test(`${mode}: broadcasts reach the sockets that they are for, in their order`, async (t) => {
    const { nodes } = await servers(t, options);
    const [{ io, socket }, second, third] = nodes;
    const all = nodes.map(({ client }) => gets(client));
    second.socket.join('room');
    io.emit('all', 1, Buffer.from([1, 2]));
    io.to('room').emit('room', new Uint8Array([3]));
    io.except('room').emit('except');
    io.local.emit('local');
    socket.broadcast.emit('others');
    io.to(third.socket.id).emit('one', { nested: [Buffer.from([4])] });
    await io.in('room').socketsJoin('later');
    io.to('later').emit('later');
    io.emit('end');
    const [first, two, three] = await Promise.all(all);
    const names = (events) => events.map(([event]) => event);
    assert.deepEqual(names(first).sort(), ['all', 'except', 'local'].sort());
    assert.deepEqual(names(two), ['all', 'room', 'others', 'later']);
    assert.deepEqual(names(three), ['all', 'except', 'others', 'one']);
    assert.ok(Buffer.isBuffer(two[0][2]) && two[0][2].equals(Buffer.from([1, 2])) && two[1][1].equals(Buffer.from([3])));
    assert.ok(three[3][1].nested[0].equals(Buffer.from([4])));
    assert.deepEqual(without([two[2]], isLog), [['others']], 'with recovery an offset is the last argument');
  });

  test(`${mode}: acknowledgements, sockets, and events between servers`, async (t) => {
    const { nodes } = await servers(t, options);
    const [{ io }, second, third] = nodes;
    nodes.forEach(({ client }, at) => client.on('ask', (answer) => answer(Buffer.from([at]))));
    const answers = await io.timeout(5000).emitWithAck('ask');
    assert.deepEqual(answers.map(([at]) => at).sort(), [0, 1, 2]);
    assert.deepEqual(await io.to('nobody').timeout(5000).emitWithAck('ask'), []);
    third.client.off('ask');
    await assert.rejects(io.timeout(200).emitWithAck('ask'), ({ responses }) => responses.length === 2);
    second.socket.data.name = 'second';
    const sockets = await io.fetchSockets();
    assert.deepEqual(sockets.map(({ id }) => id).sort(), nodes.map(({ socket }) => socket.id).sort());
    const [remote] = await io.in(second.socket.id).fetchSockets();
    assert.deepEqual([remote.data, [...remote.rooms], remote.handshake.url], [{ name: 'second' }, [second.socket.id], second.socket.handshake.url]);
    second.client.on('remote', (answer) => answer('here'));
    assert.equal(await remote.timeout(5000).emitWithAck('remote'), 'here');
    const heard = [once(second.io, 'hello'), once(third.io, 'hello')];
    io.on('hello', () => assert.fail('not to itself'));
    io.serverSideEmit('hello', 1, 'two');
    assert.deepEqual(await Promise.all(heard), [[1, 'two'], [1, 'two']]);
    second.io.on('sum', (a, answer) => answer(a + 1));
    third.io.on('sum', (a, answer) => answer(a + 2));
    assert.deepEqual((await io.serverSideEmitWithAck('sum', 1)).sort(), [2, 3]);
    const gone = nodes.map(({ client }) => once(client, 'disconnect'));
    io.disconnectSockets();
    assert.deepEqual((await Promise.all(gone)).map(([reason]) => reason), Array(NODES).fill('io server disconnect'));
  });

  test(`${mode}: a server that has closed is not waited for`, async (t) => {
    const { nodes } = await servers(t, options);
    const [{ io }, second, third] = nodes;
    await third.io.close();
    second.io.on('sum', (answer) => answer(2));
    assert.deepEqual(await io.serverSideEmitWithAck('sum'), [2]);
    assert.equal((await io.fetchSockets()).length, 2);
  });
}

const RECOVERY = { connectionStateRecovery: { maxDisconnectionDuration: 60_000 } };

test('a client recovers at another server what it has missed, with rooms and data', async (t) => {
  const { nodes } = await servers(t, RECOVERY);
  const [first, second] = nodes;
  first.socket.join(['a', 'b']);
  first.socket.leave('b');
  first.socket.data = { bytes: Buffer.from([1]) };
  second.io.emit('before');
  await once(first.client, 'before');
  const { _pid: pid, _lastOffset: offset } = first.client;
  first.client.io.engine.close();
  first.client.io.reconnection(false);
  await once(first.socket, 'disconnect');
  await second.io.to('a').emit('missed', 1);
  second.io.to('b').emit('not', 2);
  second.io.except('a').emit('not', 3);
  second.io.volatile.emit('not', 4);
  second.io.emit('missed', 5);
  const connection = once(second.io, 'connection');
  const client = clientOf(t, second.port, { auth: { pid, offset } });
  const got = gets(client);
  const [socket] = await connection;
  assert.deepEqual([socket.recovered, socket.id, [...socket.rooms].sort(), socket.data], [true, first.socket.id, [first.socket.id, 'a'].sort(), { bytes: Buffer.from([1]) }]);
  second.io.to('a').emit('end');
  assert.deepEqual(without(await got, true), [['missed', 1], ['missed', 5]]);
});

test('a client that is back before its old connection is known to be gone takes its session along', async (t) => {
  const { nodes } = await servers(t, RECOVERY);
  const [first, second] = nodes;
  let { client, socket: old } = first;
  const { id } = old;
  for (const { port, io } of [second, second, first]) {
    client.io.reconnection(false);
    const heard = once(client, 'offset');
    io.emit('offset');
    await heard;
    const gone = once(old, 'disconnect');
    const connection = once(io, 'connection');
    client = clientOf(t, port, { auth: { pid: client._pid, offset: client._lastOffset } });
    const connected = once(client, 'connect');
    const [socket] = await connection;
    await connected;
    assert.deepEqual([socket.recovered, socket.id, (await gone)[0]], [true, id, 'forced close']);
    assert.deepEqual(nodes.map((node) => node.io.sockets.sockets.get(id)).filter((one) => one !== undefined), [socket], 'it is in one place');
    old = socket;
  }
});

test('what is not recoverable is told so: an ended session, a lost log, offsets of nobody', async (t) => {
  const { app, nodes } = await servers(t, RECOVERY);
  const [first, second] = nodes;
  const recovers = async (auth) => {
    const connection = once(second.io, 'connection');
    clientOf(t, second.port, { auth });
    const [socket] = await connection;
    return socket.recovered;
  };
  const known = once(first.client, 'offset');
  first.io.emit('offset');
  await known;
  const auth = { pid: first.client._pid, offset: first.client._lastOffset };
  for (const offset of ['', 'x', 'a.b.c', `${auth.offset}.1`, 'a.1.0']) assert.equal(await recovers({ ...auth, offset }), false, offset);
  assert.equal(await recovers({ ...auth, pid: 'nobody' }), false);
  const { client, socket: ended } = nodes[2];
  const heard = once(client, 'offset');
  first.io.emit('offset');
  await heard;
  ended.disconnect();
  await once(client, 'disconnect');
  assert.equal(await recovers({ pid: client._pid, offset: client._lastOffset }), false, 'the server has ended it');
  await app.cache.namespace('socket.io').clear();
  assert.equal(await recovers(auth), false, 'the log is gone');
  const end = once(second.client, 'after');
  first.io.emit('after');
  await end;
});

test('what a session needs of the log', () => {
  const { isFor, missedSince, readOffset } = recovery;
  assert.deepEqual(readOffset('e.1.2'), { epoch: 'e', position: [1, 2] });
  const session = { sent: [5, 1], at: 9 };
  assert.deepEqual(missedSince(session, [5, 1]), [9, Infinity], 'it has all that was sent: nothing up to 9 is for it');
  assert.deepEqual(missedSince(session, [5, 0]), [5, 0]);
  assert.deepEqual(missedSince(session, [4, 7]), [4, 7]);
  assert.deepEqual(missedSince(session, [12, 0]), [12, 0], 'its process died before it noted what it sent');
  const rooms = [['sid', 0], ['late', 7]];
  const table = [
    [[], [], 1, true],
    [['sid'], [], 1, true],
    [['late'], [], 7, false],
    [['late'], [], 8, true],
    [['other'], [], 8, false],
    [['sid'], ['late'], 7, true],
    [['sid'], ['late'], 8, false],
  ];
  for (const [to, except, block, expected] of table) assert.equal(isFor(rooms, { rooms: to, except }, block), expected, JSON.stringify([to, except, block]));
});

for (const [mode, recovers] of [
  ['messages', false],
  ['log', true],
]) {
  test(`workers, ${mode}: broadcasts, rooms, acknowledgements, sockets and events reach all of them`, async (t) => {
    const running = run(t, path.join(__dirname, 'fixtures', 'chatting.js'), { env: { RECOVERS: recovers ? 'yes' : '' } });
    const [, port] = await running.until(/^LISTENING (\d+)$/m);
    const clients = [];
    for (let at = 0; at < NODES; at += 1) {
      const client = clientOf(t, port);
      client.on('ask', (answer) => answer(Buffer.from([at])));
      client.got = [];
      client.onAny((event, ...args) => event !== 'ask' && client.got.push([event, ...args]));
      await once(client, 'worker');
      clients.push(client);
    }
    const workers = clients.map(({ got }) => got[0][1]);
    assert.deepEqual([...workers].sort(), ['0', '1', '2'], 'one in each worker');
    const ids = clients.map(({ id }) => id).sort();
    const found = await clients[0].timeout(20_000).emitWithAck('run');
    assert.deepEqual(found.sockets, ids);
    assert.deepEqual(found.answers, [0, 1, 2]);
    assert.deepEqual(found.sums, [1, 2, 3].filter((sum) => sum !== Number(workers[0]) + 1));
    assert.deepEqual(found.bytes, [0, 1, 2]);
    await Promise.all(clients.map((client) => client.connected && once(client, 'disconnect')));
    for (const [at, { got }] of clients.entries()) {
      const events = got.slice(1).map((event) => (recovers ? event.slice(0, -1) : event));
      const isLast = workers[at] === '2';
      assert.deepEqual(events, [['all', { a: 1 }], ...(isLast ? [['room', 'two']] : [['except', 'two']]), ['joined']]);
    }
  });
}

test('clients recover through rolls and kills: no session is lost, no message lost or doubled', async (t) => {
  const result = await recovered(t, { clients: 100, rolls: 3, kills: 2, workers: 2, interval: 50 });
  const { lost_sessions, missing, doubled, disordered, gaps, wrong } = result;
  assert.deepEqual({ lost_sessions, missing, doubled, disordered, gaps, wrong }, { lost_sessions: 0, missing: 0, doubled: 0, disordered: 0, gaps: 0, wrong: 0 });
  assert.ok(result.recovered >= 300 && result.ticks > 100, JSON.stringify(result));
});
