'use strict';

// drover/session with a fleet: sessions in Redis, which all machines share, and what happens to them while it is away.

const assert = require('node:assert/strict');
const http = require('node:http');
const { EventEmitter, once } = require('node:events');
const { before, test } = require('node:test');
const { setTimeout: wait } = require('node:timers/promises');
const { request } = require('./helpers/http');
const { DURABLE, asking, machine, noticed, wayTo } = require('./helpers/machines');
const { program } = require('./helpers/program');
const { redisProgram, startRedis } = require('./helpers/redis');
const { skip } = require('./helpers/skip');
const { createServer } = require('..');
const { KeptRecords } = require('../lib/adapters/kept-records');
const { outageOf } = require('../lib/adapters/outage');
const { FleetRecords } = require('../lib/adapters/records');

let lacks = false;
before(async () => {
  if ((await redisProgram()) === undefined) lacks = 'there is no redis-server, and it may not be installed';
});

/** Looks until there is something. */
async function poll(look) {
  for (;;) {
    const found = await look();
    if (found) return found;
    await wait(10);
  }
}

/** The program of each machine; `gate`: the port of a server that answers when the test lets it. */
function serving({ port, redis, workers, sayFleet, gate, express, session }) {
  const { createServer } = require('drover');
  const { DroverStore } = require('drover/session');
  const handler = require(express)();
  const app = createServer({ app: handler, redis, cluster: { enabled: true, config: { workers } } });
  sayFleet(app);
  const store = new DroverStore(app);
  handler.use(require(session)({ secret: 'a secret', store, saveUninitialized: false, resave: false, cookie: { maxAge: 600_000 } }));
  handler.get('/set/:value', (incoming, response) => {
    incoming.session.value = incoming.params.value;
    response.send('set');
  });
  handler.get('/value', (incoming, response) => response.send(String(incoming.session.value)));
  handler.get('/logout', (incoming, response) => incoming.session.destroy((error) => response.send(error ? error.code : 'destroyed')));
  handler.get('/slow', async (incoming, response) => {
    await fetch(`http://127.0.0.1:${gate}/`);
    if (incoming.query.value !== undefined) incoming.session.value = incoming.query.value;
    response.send('slow');
  });
  const cookie = () => ({ originalMaxAge: 60_000, expires: new Date(Date.now() + 60_000 + Math.random() * 1000), path: '/' });
  handler.get('/touches', async (_, response) => {
    const loaded = await store.get('one');
    let touched = 0;
    while ((await store.get('done')) === undefined) {
      await store.touch('one', { ...loaded, cookie: cookie() });
      touched += 1;
    }
    response.json(touched);
  });
  handler.get('/changes', async (_, response) => {
    const older = [];
    for (let n = 1; n <= 200; n += 1) {
      await store.set('one', { cookie: cookie(), n });
      for (let looks = 0; looks < 3; looks += 1) {
        const found = await store.get('one');
        if (found?.n !== n) older.push([n, found?.n ?? null]);
      }
      await store.destroy('one');
      for (let looks = 0; looks < 3; looks += 1) if ((await store.get('one')) !== undefined) older.push([n, 'destroyed']);
    }
    await store.set('done', { cookie: cookie() });
    response.json(older);
  });
  handler.get('/store/:method', async (incoming, response) => response.json((await store[incoming.params.method]()) ?? null));
  handler.use((error, _, response, next) => (response.headersSent ? next(error) : response.status(503).send(error.code)));
  app.start(port, '127.0.0.1').then(() => app.isPrimary && console.log('UP'));
}

/** Starts machines, each with its own way to the server if `cuts`: { ask(path, cookie), way, running, port }. */
async function fleetOf(t, redis, { options = {}, gate = 0, cuts = false } = {}) {
  const given = { gate, express: require.resolve('express'), session: require.resolve('express-session') };
  return Promise.all(
    [0, 1].map(async () => {
      const way = cuts ? await wayTo(t, redis.port) : undefined;
      const made = await machine(t, serving, { redis: { port: way?.port ?? redis.port, ...options }, given });
      const ask = async (path, cookie) => {
        const { body, status, headers } = await request(made.port, { path, headers: cookie && { cookie } });
        return { body, status, cookie: headers['set-cookie']?.[0].split(';')[0] ?? cookie };
      };
      return { ...made, ask, way };
    }),
  );
}

/** A server that holds what comes until `open`. */
async function gateOf(t) {
  const waiting = [];
  const server = http.createServer((_, response) => {
    waiting.push(response);
    server.emit('waiting');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return {
    port: server.address().port,
    come: () => once(server, 'waiting'),
    open: () => waiting.splice(0).forEach((response) => response.end()),
  };
}

test('a session made on one machine is read and changed on the other at once, and gone there when it is destroyed', async (t) => {
  if (lacks) return skip(t, lacks);
  const [one, other] = await fleetOf(t, await startRedis(t));
  for (let times = 0; times < 10; times += 1) {
    const { cookie } = await one.ask(`/set/a${times}`);
    assert.equal((await other.ask('/value', cookie)).body, `a${times}`);
    await other.ask(`/set/b${times}`, cookie);
    assert.equal((await one.ask('/value', cookie)).body, `b${times}`);
    assert.equal((await one.ask('/logout', cookie)).body, 'destroyed');
    assert.equal((await other.ask('/value', cookie)).body, 'undefined');
  }
  const { cookie } = await one.ask('/set/last');
  assert.equal((await other.ask('/store/length')).body, '1');
  assert.deepEqual(Object.values(JSON.parse((await other.ask('/store/all')).body)).map(({ value }) => value), ['last']);
  await other.ask('/store/clear');
  assert.equal((await one.ask('/value', cookie)).body, 'undefined');
});

for (const [how, path] of [
  ['changed nothing', '/slow'],
  ['changed it', '/slow?value=late'],
]) {
  test(`a session that another machine has destroyed stays destroyed, though a request that ${how} had loaded it`, async (t) => {
    if (lacks) return skip(t, lacks);
    const gate = await gateOf(t);
    const [one, other] = await fleetOf(t, await startRedis(t), { gate: gate.port });
    const { cookie } = await one.ask('/set/old');
    const came = gate.come();
    const slow = one.ask(path, cookie);
    await came;
    await other.ask('/logout', cookie);
    gate.open();
    await slow;
    assert.equal((await one.ask('/value', cookie)).body, 'undefined');
    assert.deepEqual([(await one.ask('/store/length')).body, (await other.ask('/store/length')).body], ['0', '0']);
  });
}

test('a request that changed nothing keeps what another machine has changed meanwhile', async (t) => {
  if (lacks) return skip(t, lacks);
  const gate = await gateOf(t);
  const [one, other] = await fleetOf(t, await startRedis(t), { gate: gate.port });
  const { cookie } = await one.ask('/set/old');
  const came = gate.come();
  const slow = one.ask('/slow', cookie);
  await came;
  await other.ask('/set/new', cookie);
  gate.open();
  await slow;
  assert.deepEqual([(await one.ask('/value', cookie)).body, (await other.ask('/value', cookie)).body], ['new', 'new']);
});

test('touches of one machine bring nothing back that another one changes or destroys', async (t) => {
  if (lacks) return skip(t, lacks);
  const [one, other] = await fleetOf(t, await startRedis(t));
  const [touches, changes] = await Promise.all([one.ask('/touches'), other.ask('/changes')]);
  assert.deepEqual(JSON.parse(changes.body), []);
  assert.ok(Number(touches.body) > 20, touches.body);
});

test('while Redis is away no request fails, sessions go on, and what was done is in Redis once it is back', async (t) => {
  if (lacks) return skip(t, lacks);
  const redis = await startRedis(t, { settings: DURABLE });
  const [one, other] = await fleetOf(t, redis);
  const known = {};
  for (const name of ['kept', 'changed', 'ended']) known[name] = (await one.ask(`/set/${name}`)).cookie;
  await noticed([one, other], 'unavailable', () => redis.kill());
  // Both workers have what either has read.
  for (let times = 0; times < 4; times += 1) assert.equal((await one.ask('/value', known.kept)).body, 'kept');
  assert.equal((await one.ask('/set/again', known.changed)).status, 200);
  for (let times = 0; times < 4; times += 1) assert.equal((await one.ask('/value', known.changed)).body, 'again');
  known.made = (await one.ask('/set/made')).cookie;
  for (let times = 0; times < 4; times += 1) assert.equal((await one.ask('/value', known.made)).body, 'made');
  assert.equal((await one.ask('/logout', known.ended)).body, 'destroyed');
  for (let times = 0; times < 4; times += 1) assert.equal((await one.ask('/value', known.ended)).body, 'undefined');
  assert.equal((await other.ask('/value', known.made)).body, 'undefined', 'the other machine does not know it');
  assert.equal((await one.ask('/store/all')).body, 'FLEET_UNAVAILABLE', 'what needs all machines says so');
  await noticed([one, other], 'available', () => redis.start());
  // Nobody has asked for them on the machine that has them.
  await poll(async () => (await other.ask('/value', known.changed)).body === 'again');
  await poll(async () => (await other.ask('/value', known.made)).body === 'made');
  await poll(async () => (await other.ask('/value', known.ended)).body === 'undefined');
  assert.equal((await other.ask('/value', known.kept)).body, 'kept');
  assert.equal((await one.ask('/value', known.ended)).body, 'undefined');
  assert.equal((await one.ask('/store/length')).body, '3');
});

test('what another machine has changed or destroyed wins over what was changed here without Redis, and a destroy over all', async (t) => {
  if (lacks) return skip(t, lacks);
  const [one, other] = await fleetOf(t, await startRedis(t), { cuts: true });
  const [changed, destroyed, clean, lost] = await Promise.all(['c', 'd', 'e', 'f'].map(async (name) => (await one.ask(`/set/${name}`)).cookie));
  await noticed([one], 'unavailable', () => one.way.cut());
  for (const cookie of [changed, destroyed, lost]) await one.ask('/set/here', cookie);
  assert.equal((await one.ask('/value', destroyed)).body, 'here');
  await one.ask('/logout', lost);
  await other.ask('/set/there', changed);
  await other.ask('/set/there', lost);
  await other.ask('/logout', destroyed);
  await other.ask('/logout', clean);
  assert.equal((await one.ask('/value', clean)).body, 'e', 'it cannot know');
  await noticed([one], 'available', () => one.way.restore());
  assert.equal((await one.ask('/value', clean)).body, 'undefined');
  assert.equal((await one.ask('/value', destroyed)).body, 'undefined');
  assert.equal((await one.ask('/value', changed)).body, 'there');
  await poll(async () => (await other.ask('/value', lost)).body === 'undefined');
  assert.equal((await other.ask('/store/length')).body, '1');
});

test('what was changed here without Redis brings nothing back that Redis has no more', async (t) => {
  if (lacks) return skip(t, lacks);
  const [one, other] = await fleetOf(t, await startRedis(t), { cuts: true });
  const { cookie } = await one.ask('/set/old');
  await noticed([one], 'unavailable', () => one.way.cut());
  await one.ask('/set/here', cookie);
  await other.ask('/store/clear');
  await noticed([one], 'available', () => one.way.restore());
  assert.deepEqual([(await one.ask('/value', cookie)).body, (await other.ask('/value', cookie)).body], ['undefined', 'undefined']);
});

test('a request that began before an outage and ends in it brings back nothing that was destroyed', async (t) => {
  if (lacks) return skip(t, lacks);
  const gate = await gateOf(t);
  const redis = await startRedis(t, { settings: DURABLE });
  const [one, other] = await fleetOf(t, redis, { gate: gate.port });
  const { cookie } = await one.ask('/set/old');
  const came = gate.come();
  const slow = one.ask('/slow?value=late', cookie);
  await came;
  await one.ask('/logout', cookie);
  await noticed([one, other], 'unavailable', () => redis.kill());
  gate.open();
  await slow;
  for (let times = 0; times < 4; times += 1) assert.equal((await one.ask('/value', cookie)).body, 'undefined');
  await noticed([one, other], 'available', () => redis.start());
  assert.deepEqual([(await one.ask('/value', cookie)).body, (await other.ask('/value', cookie)).body], ['undefined', 'undefined']);
});

for (const [how, act, undo] of [
  ['is killed', (redis) => redis.kill(), (redis) => redis.start()],
  ['stands still', (redis) => redis.freeze(), (redis) => redis.thaw()],
]) {
  test(`while Redis ${how} under load no request fails or waits for it beyond the timeout, and nothing is lost`, async (t) => {
    if (lacks) return skip(t, lacks);
    const redis = await startRedis(t, { settings: DURABLE });
    // The time of an answer beyond that of Redis is the machine's own.
    const timeout = 1000;
    const machines = await fleetOf(t, redis, { options: { timeout } });
    const [one] = machines;
    const cookies = await Promise.all(Array.from({ length: 20 }, async (_, at) => (await one.ask(`/set/${at}-0`)).cookie));
    const last = cookies.map(() => 0);
    const change = async (at) => {
      const { status } = await one.ask(`/set/${at}-${last[at] + 1}`, cookies[at]);
      last[at] += 1;
      return { status };
    };
    // What some have written last was not answered by Redis, or not sent there.
    const [early, late] = [asking(10, change), asking(10, (at) => change(10 + at))];
    await early.more(100);
    await noticed(machines, 'unavailable', () => act(redis));
    await Promise.all([early.more(50), late.more(50)]);
    await early.end();
    await noticed(machines, 'available', () => undo(redis));
    await late.more(50);
    await late.end();
    const answers = [...early.answers, ...late.answers];
    assert.deepEqual(answers.filter(({ status, time }) => status !== 200 || time > 2 * timeout), []);
    for (const { ask } of machines) {
      const values = await Promise.all(cookies.map(async (cookie) => (await ask('/value', cookie)).body));
      assert.deepEqual(values, last.map((count, at) => `${at}-${count}`));
    }
  });
}

test('what Redis refuses although it is back is stored there when it refuses no more', async (t) => {
  // What is tried again keeps no process alive.
  const alive = setInterval(() => {}, 1000);
  t.after(() => clearInterval(alive));
  const { cache } = createServer({ app: http.createServer(() => {}), cluster: { enabled: false } });
  const values = new Map();
  const fleet = new EventEmitter();
  let refusals = Infinity;
  const refuse = () => {
    refusals -= 1;
    if (refusals >= 0) throw Object.assign(new Error('it is full'), { code: 'FLEET_UNAVAILABLE' });
  };
  Object.assign(fleet, {
    isAvailable: true,
    load: async (space, name) => values.get(name),
    store: async (space, name, value, life, expected) => {
      refuse();
      if (expected !== (values.get(name)?.version ?? '0')) return undefined;
      values.set(name, { version: '1', value: Buffer.from(value) });
      fleet.emit('stored');
      return '1';
    },
  });
  const records = new KeptRecords(new FleetRecords(fleet, 'space'), cache.namespace('copies'), '', outageOf(fleet));
  await records.write('a', 'text', 60_000);
  assert.equal((await records.read('a')).text, 'text');
  const stored = once(fleet, 'stored');
  refusals = 1;
  fleet.emit('available');
  await stored;
  assert.match(String(values.get('a').value), /text$/);
});

test("with onFailure 'refuse' a request fails with FLEET_UNAVAILABLE while Redis is away, and no other", async (t) => {
  if (lacks) return skip(t, lacks);
  const redis = await startRedis(t, { settings: DURABLE });
  const [one, other] = await fleetOf(t, redis, { options: { onFailure: 'refuse' } });
  const { cookie } = await one.ask('/set/a');
  await noticed([one, other], 'unavailable', () => redis.kill());
  for (const { ask } of [one, other]) {
    const { status, body } = await ask('/value', cookie);
    assert.deepEqual([status, body], [503, 'FLEET_UNAVAILABLE']);
  }
  await noticed([one, other], 'available', () => redis.start());
  for (const { ask } of [one, other]) assert.equal((await ask('/value', cookie)).body, 'a');
});

test('the first request of a process knows the sessions of the fleet, though it has just begun to reach Redis', async (t) => {
  if (lacks) return skip(t, lacks);
  const redis = await startRedis(t);
  const [one] = await fleetOf(t, redis);
  await one.ask('/set/a');
  const [id] = Object.keys(JSON.parse((await one.ask('/store/all')).body));
  const first = async (given) => {
    const { createServer } = require('drover');
    const { DroverStore } = require('drover/session');
    const app = createServer({ app: require('node:http').createServer(() => {}), redis: given.redis, cluster: { enabled: false } });
    console.log(`FOUND ${(await new DroverStore(app).get(given.id))?.value}`);
    process.exit();
  };
  const running = program(t, first, { given: { id, redis: { host: '127.0.0.1', port: redis.port, prefix: 'test:' } } });
  const [, found] = await running.until(/^FOUND (.*)$/m);
  assert.equal(found, 'a');
});
