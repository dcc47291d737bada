'use strict';

// drover/session: sessions of express-session in the shared cache, and what requests of one session do to each other.
// The package's own suite: `npm run test:adapters`.

const assert = require('node:assert/strict');
const http = require('node:http');
const { once } = require('node:events');
const { test } = require('node:test');
const { setTimeout: wait } = require('node:timers/promises');
const express = require('express');
const session = require('express-session');
const { request } = require('./helpers/http');
const { messagingCluster } = require('./helpers/messaging-cluster');
const { createServer } = require('..');
const { DroverStore } = require('drover/session');

const { cache } = createServer({ app: http.createServer(() => {}), cluster: { enabled: false } });

/** A namespace of the cache for one test. */
let count = 0;
const fresh = () => cache.namespace(`test ${(count += 1)}`);

/** A session as express-session stores it. */
const stored = (contents, expires = new Date(Date.now() + 60_000)) => ({ cookie: { originalMaxAge: 60_000, expires, path: '/' }, ...contents });

/** An application with sessions; resolves to its store and a function that sends a request with a cookie. */
async function serving(t, routes, options) {
  const store = new DroverStore(fresh());
  const app = express();
  app.use(session({ secret: 'a secret', store, saveUninitialized: false, resave: false, cookie: { maxAge: 60_000 }, ...options }));
  routes(app);
  const server = app.listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const { port } = server.address();
  const ask = async (path, cookie) => {
    const { body, headers } = await request(port, { path, headers: cookie && { cookie } });
    return { body, cookie: headers['set-cookie']?.[0].split(';')[0] ?? cookie };
  };
  return { store, ask };
}

/** Routes that change the session, and one that waits in between. */
function routes(app) {
  const waiting = [];
  app.get('/set/:value', (request, response) => {
    request.session.value = request.params.value;
    response.send('set');
  });
  app.get('/value', ({ session: { value } }, response) => response.send(String(value)));
  app.get('/logout', (request, response) => request.session.destroy(() => response.send('destroyed')));
  app.get('/slow', (request, response) => {
    waiting.push(() => {
      if (request.query.value !== undefined) request.session.value = request.query.value;
      response.send('slow');
    });
    app.emit('waiting');
  });
  app.get('/go', (_, response) => {
    waiting.splice(0).forEach((go) => go());
    response.send('gone on');
  });
}

test('sessions are kept, and end with their cookies', async () => {
  const own = fresh();
  const store = new DroverStore(own, { ttl: '1h' });
  const end = new Date(Date.now() + 60_000);
  await store.set('a', stored({ n: 1 }, end));
  assert.deepEqual(await store.get('a'), { cookie: { originalMaxAge: 60_000, expires: end.toJSON(), path: '/' }, n: 1 });
  assert.ok(Math.abs(own.expiresAt('a') - end) < 1000);
  const later = new Date(Date.now() + 120_000);
  await store.touch('a', stored({ n: 2 }, later));
  assert.deepEqual([(await store.get('a')).n, Math.abs(own.expiresAt('a') - later) < 1000], [1, true], 'a touch changes the lifetime alone');
  await store.set('b', stored({}, null));
  assert.ok(Math.abs(own.expiresAt('b') - Date.now() - 3_600_000) < 5000, 'without an end of its cookie it has the ttl');
  await store.set('a', stored({ n: 3 }, new Date(Date.now() - 1)));
  assert.equal(await store.get('a'), undefined, 'a session that has ended is gone');
  await store.set('short', stored({}, new Date(Date.now() + 30)));
  while ((await store.get('short')) !== undefined) await wait(5);
  await store.touch('b', stored({}, new Date(Date.now() - 1)));
  assert.deepEqual([await store.get('b'), await store.length()], [undefined, 0]);
});

test('sessions are listed, counted and cleared: those with the prefix', async () => {
  const own = fresh();
  const [one, other] = ['one:', 'other:'].map((prefix) => new DroverStore(own, { prefix }));
  await Promise.all([one.set('a', stored({ n: 1 })), one.set('b', stored({ n: 2 })), other.set('a', stored({ n: 3 }))]);
  const sessions = await one.all();
  assert.deepEqual([Object.keys(sessions).sort(), sessions.a.n, sessions.b.n], [['a', 'b'], 1, 2]);
  await one.clear();
  assert.deepEqual([await one.length(), await other.length()], [0, 1]);
  await other.destroy('a');
  await other.destroy('a');
  assert.equal(await other.length(), 0);
  assert.throws(() => new DroverStore(own, { prefix: '*' }), { code: 'INVALID_ARGUMENT' });
});

test('callbacks get errors and results, in a turn of their own', async () => {
  const store = new DroverStore(fresh());
  const call = (method, ...args) =>
    new Promise((resolve) => {
      let isLater = false;
      store[method](...args, (...results) => resolve([isLater, ...results]));
      isLater = true;
    });
  assert.deepEqual(await call('set', 'a', stored({ n: 1 })), [true, null, undefined]);
  const [, , found] = await call('get', 'a');
  assert.equal(found.n, 1);
  assert.deepEqual(await call('length'), [true, null, 1]);
  assert.deepEqual(await call('destroy', 'a'), [true, null, undefined]);
  assert.deepEqual(await call('get', 'a'), [true, null, undefined]);
  const [, error] = await call('set', 'x'.repeat(5000), stored({}));
  assert.equal(error.code, 'INVALID_ARGUMENT');
});

for (const [how, options] of [
  ['touch', { resave: false }],
  ['resave', { resave: true }],
]) {
  test(`a request that changed nothing keeps what others have changed meanwhile: ${how}`, async (t) => {
    let app;
    const { ask } = await serving(t, (made) => routes((app = made)), options);
    const { cookie } = await ask('/set/old');
    const waits = once(app, 'waiting');
    const slow = ask('/slow', cookie);
    await waits;
    await ask('/set/new', cookie);
    await Promise.all([slow, ask('/go')]);
    assert.equal((await ask('/value', cookie)).body, 'new');
  });

  test(`a destroyed session stays destroyed, whatever requests had loaded it before: ${how}`, async (t) => {
    let app;
    const { ask, store } = await serving(t, (made) => routes((app = made)), options);
    const { cookie } = await ask('/set/old');
    for (const path of ['/slow', '/slow?value=late']) {
      const waits = once(app, 'waiting');
      const slow = ask(path, cookie);
      await waits;
      await ask('/logout', cookie);
      await Promise.all([slow, ask('/go')]);
      assert.deepEqual([(await ask('/value', cookie)).body, await store.length()], ['undefined', 0]);
      // The next one begins with a session again.
      const id = decodeURIComponent(cookie).match(/s:([^.]+)/)[1];
      await store.set(id, stored({ value: 'again' }));
      assert.equal((await ask('/value', cookie)).body, 'again');
    }
  });
}

test('touches of one worker bring nothing back that another one changes or destroys', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell) => {
      if (!app.isPrimary) return;
      await app.sendToWorker(1, 'begin', null);
      const [touched, older] = await Promise.all([app.sendToWorker(0, 'touch', null), app.sendToWorker(1, 'change', 2000)]);
      tell([touched > 100 || touched, older]);
    },
    {
      config: { ipc: { timeout: 60_000 } },
      before: (app) => {
        const { DroverStore } = require('drover/session');
        const store = new DroverStore(app);
        const cookie = () => ({ originalMaxAge: 60_000, expires: new Date(Date.now() + 60_000 + Math.random() * 1000), path: '/' });
        app.onMessage('begin', () => store.set('id', { cookie: cookie(), n: 0 }));
        app.onMessage('touch', async () => {
          let touched = 0;
          const loaded = { ...(await store.get('id')), cookie: cookie() };
          while (app.cache.get('done') === undefined) {
            await store.touch('id', { ...loaded, cookie: cookie() });
            touched += 1;
          }
          return touched;
        });
        app.onMessage('change', async (times) => {
          const older = [];
          for (let n = 1; n <= times; n += 1) {
            await store.set('id', { cookie: cookie(), n });
            for (let looks = 0; looks < 3; looks += 1) {
              const found = await store.get('id');
              if (found?.n !== n) older.push([n, found?.n ?? null]);
              await new Promise(setImmediate);
            }
            await store.destroy('id');
            for (let looks = 0; looks < 3; looks += 1) {
              if ((await store.get('id')) !== undefined) older.push([n, 'destroyed']);
              await new Promise(setImmediate);
            }
          }
          await app.cache.set('done', true);
          return older;
        });
      },
    },
  );
  assert.deepEqual(await told(1), [[true, []]]);
});

test('a session that one worker has set is there for the next request in another', async (t) => {
  const { told } = messagingCluster(
    t,
    async (app, tell) => {
      if (!app.isPrimary) return;
      await app.sendToWorker(0, 'set', null);
      tell(await app.sendToWorker(1, 'get', null));
    },
    {
      before: (app) => {
        const { DroverStore } = require('drover/session');
        const store = new DroverStore(app);
        app.onMessage('set', () => store.set('id', { cookie: { expires: null }, user: 'Ω' }));
        app.onMessage('get', async () => (await store.get('id')).user);
      },
    },
  );
  assert.deepEqual(await told(1), ['Ω']);
});
