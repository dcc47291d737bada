'use strict';

// drover/http-cache before the handlers of Express, Koa, Fastify and of a plain server, in one process and in a cluster.

const assert = require('node:assert/strict');
const http = require('node:http');
const { once } = require('node:events');
const { test } = require('node:test');
const { setTimeout: wait } = require('node:timers/promises');
const express = require('express');
const fastify = require('fastify');
const Koa = require('koa');
const { createServer } = require('..');
const { fastifyHttpCache, httpCache, koaHttpCache } = require('../lib/adapters/http-cache');
const { request } = require('./helpers/http');
const { program } = require('./helpers/program');

const { cache } = createServer({ app: http.createServer(() => {}), cluster: { enabled: false } });

let count = 0;
/** A namespace for one test. */
const fresh = () => cache.namespace(`pages ${(count += 1)}`);

async function listen(t, server) {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address();
  return Object.assign((path, options) => request(port, { path, ...options }), { port });
}

/**
 * Each framework behind the cache: `handler({ url, method, headers }, number)` returns or resolves to `{ status, headers,
 * body }`; `calls` counts.
 */
const FRAMEWORKS = {
  async plain(t, options, handler) {
    const middleware = httpCache(fresh(), options);
    return counted(handler, (answer) =>
      listen(
        t,
        http.createServer((asked, response) =>
          middleware(asked, response, async () => {
            const { status = 200, headers = {}, body } = await answer(asked);
            response.writeHead(status, headers).end(body);
          }),
        ),
      ),
    );
  },
  async express(t, options, handler) {
    const app = express();
    app.use(httpCache(fresh(), options));
    return counted(handler, (answer) => {
      app.use(async (asked, response) => {
        const { status = 200, headers = {}, body } = await answer({ method: asked.method, url: asked.originalUrl, headers: asked.headers });
        response.status(status).set(headers).send(body);
      });
      return listen(t, http.createServer(app));
    });
  },
  async koa(t, options, handler) {
    const app = new Koa();
    app.use(koaHttpCache(fresh(), options));
    return counted(handler, (answer) => {
      app.use(async (context) => {
        const { status = 200, headers = {}, body } = await answer(context.req);
        context.status = status;
        context.body = body ?? null;
        context.status = status;
        context.set(headers);
      });
      return listen(t, http.createServer(app.callback()));
    });
  },
  async fastify(t, options, handler) {
    const app = fastify();
    await app.register(fastifyHttpCache, { cache: fresh(), ...options });
    return counted(handler, async (answer) => {
      app.all('/*', async (asked, reply) => {
        const { status = 200, headers = {}, body } = await answer(asked.raw);
        return reply.code(status).headers(headers).send(body);
      });
      await app.ready();
      return listen(t, app.server);
    });
  },
};

async function counted(handler, start) {
  const calls = [];
  const ask = await start((asked) => {
    calls.push(`${asked.method} ${asked.url}`);
    return handler(asked, calls.length);
  });
  return { ask, calls };
}

const cacheable = (more = {}) => ({ 'cache-control': 'max-age=60', 'content-type': 'text/plain', ...more });

for (const [name, framework] of Object.entries(FRAMEWORKS)) {
  test(`${name}: a response is sent again with its age; a HEAD and a 304 come from it`, async (t) => {
    const { ask, calls } = await framework(t, {}, (asked, number) => ({ headers: cacheable({ etag: '"a"', 'x-number': String(number), age: '7' }), body: `body of ${asked.url} Ω` }));
    const first = await ask('/a?x=1');
    const again = await ask('/a?x=1');
    assert.deepEqual([again.status, again.body, again.headers['x-number'], again.headers.etag], [200, 'body of /a?x=1 Ω', '1', '"a"']);
    assert.ok(Number(again.headers.age) >= 7, again.headers.age);
    assert.equal(again.headers['content-length'], String(Buffer.byteLength(again.body)));
    assert.equal(again.headers['content-type'], first.headers['content-type']);
    assert.equal(again.headers.date, first.headers.date ?? again.headers.date);
    const head = await ask('/a?x=1', { method: 'HEAD' });
    assert.deepEqual([head.status, head.body, head.headers['content-length']], [200, '', again.headers['content-length']]);
    const known = await ask('/a?x=1', { headers: { 'if-none-match': '"a"' } });
    assert.deepEqual([known.status, known.body, known.headers.etag], [304, '', '"a"']);
    await ask('/a?x=2');
    assert.deepEqual(calls, ['GET /a?x=1', 'GET /a?x=2']);
  });

  test(`${name}: what may not be stored is made each time, and many at once do not wait for each other`, async (t) => {
    let arrived = 0;
    let release;
    const all = new Promise((resolve) => (release = resolve));
    const { ask, calls } = await framework(t, {}, async (asked) => {
      if (asked.url === '/together') {
        if ((arrived += 1) === 20) release();
        // The first one is served alone; that its response is not stored is known only then.
        if (arrived > 1) await all;
      }
      return { headers: asked.url === '/cookie' ? cacheable({ 'set-cookie': 'a=b' }) : { 'cache-control': 'private' }, body: 'mine' };
    });
    for (const path of ['/cookie', '/private']) {
      for (const round of [1, 2]) assert.equal((await ask(path)).body, 'mine', `${path} ${round}`);
    }
    assert.equal(calls.length, 4);
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask('/together')));
    assert.deepEqual([answers.every(({ body }) => body === 'mine'), arrived], [true, 20]);
  });

  test(`${name}: one call of the handlers answers all that ask at once`, async (t) => {
    const { ask, calls } = await framework(t, {}, async () => {
      await wait(20);
      return { headers: cacheable(), body: 'for all' };
    });
    const answers = await Promise.all(Array.from({ length: 30 }, () => ask('/')));
    assert.deepEqual([new Set(answers.map(({ body }) => body)), calls.length], [new Set(['for all']), 1]);
  });

  test(`${name}: variants are stored beside each other`, async (t) => {
    const { ask, calls } = await framework(t, {}, (asked) => ({ headers: cacheable({ vary: 'Accept-Language' }), body: asked.headers['accept-language'] ?? 'none' }));
    const of = async (language) => (await ask('/', { headers: { 'accept-language': language } })).body;
    assert.deepEqual([await of('de'), await of('fr'), await of('de'), await of('fr')], ['de', 'fr', 'de', 'fr']);
    assert.equal(calls.length, 2);
  });

  test(`${name}: a stale response is validated, and one that is still right is used`, async (t) => {
    let etag = '"a"';
    const { ask, calls } = await framework(t, {}, (asked, number) => {
      const headers = { 'cache-control': 'max-age=0', etag, 'x-number': String(number) };
      return asked.headers['if-none-match'] === etag ? { status: 304, headers } : { headers, body: `with ${etag}` };
    });
    assert.equal((await ask('/')).body, 'with "a"');
    const validated = await ask('/');
    assert.deepEqual([validated.status, validated.body, validated.headers['x-number']], [200, 'with "a"', '2']);
    const known = await ask('/', { headers: { 'if-none-match': '"a"' } });
    assert.equal(known.status, 304);
    etag = '"b"';
    assert.deepEqual([(await ask('/')).body, (await ask('/')).body, calls.length], ['with "b"', 'with "b"', 5]);
  });

  test(`${name}: a stale response is used while a new one is made, and if that fails`, async (t) => {
    let status = 200;
    const { ask, calls } = await framework(t, {}, (asked, number) => ({
      status,
      headers: { 'cache-control': asked.url === '/while' ? 'max-age=0, stale-while-revalidate=60' : 'max-age=0, stale-if-error=60' },
      body: `${status} ${number}`,
    }));
    assert.equal((await ask('/error')).body, '200 1');
    status = 503;
    const hidden = await ask('/error');
    assert.deepEqual([hidden.status, hidden.body, calls.length], [200, '200 1', 2]);
    status = 404;
    assert.equal((await ask('/error')).status, 404);
    status = 200;
    assert.equal((await ask('/while')).body, '200 4');
    const second = await ask('/while');
    if (name === 'plain') {
      assert.equal(second.body, '200 5', 'without an application to ask again, one request makes it');
      return;
    }
    assert.equal(second.body, '200 4', 'the stale one');
    while ((await ask('/while')).body === '200 4');
    assert.ok(calls.length >= 5);
  });

  test(`${name}: a change removes what is stored, its failure does not`, async (t) => {
    const { ask } = await framework(t, {}, (asked, number) => {
      if (asked.method === 'GET') return { headers: cacheable({ vary: 'accept' }), body: String(number) };
      return { status: asked.url === '/refused' ? 403 : 200, headers: { location: '/list' }, body: 'done' };
    });
    const [item, list, refused] = [await ask('/item'), await ask('/list'), await ask('/refused')].map(({ body }) => body);
    await ask('/item', { method: 'PUT' });
    await ask('/refused', { method: 'DELETE' });
    assert.notEqual((await ask('/item')).body, item);
    assert.notEqual((await ask('/list')).body, list);
    assert.equal((await ask('/refused')).body, refused);
  });

  test(`${name}: what clients ask of caches is obeyed, or ignored`, async (t) => {
    for (const [requestDirectives, expected] of [
      [true, ['1', '2', '2']],
      [false, ['1', '1', '1']],
    ]) {
      const { ask } = await framework(t, { requestDirectives, cacheStatus: true }, (asked, number) => ({ headers: cacheable(), body: String(number) }));
      const bodies = [];
      for (const headers of [{}, { 'cache-control': 'no-cache' }, {}]) bodies.push((await ask('/', { headers })).body);
      assert.deepEqual(bodies, expected);
      assert.match((await ask('/')).headers['cache-status'], /^drover; hit; ttl=(59|60)$/);
      assert.equal((await ask('/other', { headers: { 'cache-control': 'only-if-cached' } })).status, requestDirectives ? 504 : 200);
    }
  });
}

test('a stream passes as it is written, and is stored only when it is whole and small enough', async (t) => {
  const app = express();
  app.use(httpCache(fresh(), { maxBodySize: 100 }));
  let calls = 0;
  let go;
  app.get('/:kind', async (asked, response) => {
    calls += 1;
    const gate = new Promise((resolve) => (go = resolve));
    if (asked.params.kind !== 'events') response.set('cache-control', 'max-age=60');
    response.write('first ');
    await gate;
    response.write(asked.params.kind === 'large' ? 'x'.repeat(200) : 'second ');
    if (asked.params.kind === 'broken') response.destroy();
    else response.end('third');
  });
  const ask = await listen(t, http.createServer(app));
  for (const [kind, isStored] of [['events', false], ['small', true], ['large', false]]) {
    calls = 0;
    for (const round of [1, 2]) {
      if (round === 2 && isStored) {
        assert.equal((await ask(`/${kind}`)).body, 'first second third');
        continue;
      }
      const outgoing = http.get({ host: '127.0.0.1', port: ask.port, path: `/${kind}`, agent: false });
      const [response] = await once(outgoing, 'response');
      const [chunk] = await once(response.setEncoding('utf8'), 'data');
      assert.equal(chunk, 'first ', 'before the rest is written');
      go();
      let rest = '';
      for await (const piece of response) rest += piece;
      assert.match(rest, /third$/);
    }
    assert.equal(calls, isStored ? 1 : 2, kind);
  }
  const broken = ask('/broken').then(
    () => assert.fail('it was cut'),
    () => {},
  );
  while (calls < 3) await wait(1);
  go();
  await broken;
  const again = ask('/broken').catch(() => 'made again');
  while (calls < 4) await wait(1);
  go();
  assert.equal(await again, 'made again');
});

test('an aborted request costs those that wait for it nothing but the time', async (t) => {
  const app = express();
  app.use(httpCache(fresh()));
  let calls = 0;
  const made = [];
  app.get('/', (asked, response) => {
    calls += 1;
    made.push(() => response.set('cache-control', 'max-age=60').send(`call ${made.length}`));
    if (calls > 1) made.at(-1)();
  });
  const server = http.createServer(app);
  const ask = await listen(t, server);
  const first = http.get({ host: '127.0.0.1', port: server.address().port });
  first.on('error', () => {});
  while (calls < 1) await wait(1);
  const waiting = [ask('/'), ask('/')];
  while ((await new Promise((resolve) => server.getConnections((_, open) => resolve(open)))) < 3) await wait(1);
  first.destroy();
  assert.deepEqual((await Promise.all(waiting)).map(({ body }) => body), ['call 2', 'call 2']);
  made[0]();
  assert.deepEqual([(await ask('/')).body, calls], ['call 2', 2]);
});

test('errors reach the handlers of errors, and what is before the cache keeps its own fields', async (t) => {
  const app = express();
  let requests = 0;
  app.use((asked, response, next) => {
    requests += 1;
    response.set('x-request', String(requests));
    next();
  });
  app.use(httpCache(fresh()));
  app.get('/error', () => {
    throw Object.assign(new Error('no'), { status: 418 });
  });
  app.get('/', (asked, response) => response.set('cache-control', 'max-age=60').json({ a: 1 }));
  app.use((error, asked, response, _next) => response.status(error.status).send(error.message));
  const ask = await listen(t, http.createServer(app));
  for (const round of [1, 2]) assert.deepEqual([(await ask('/error')).status, round], [418, round]);
  const [first, second] = [await ask('/'), await ask('/')];
  assert.deepEqual([first.headers['x-request'], second.headers['x-request'], second.json()], ['3', '4', { a: 1 }]);
  assert.equal(second.headers['content-type'], first.headers['content-type']);
});

test('a response that was begun before a change is not used after it', async (t) => {
  const app = express();
  app.use(httpCache(fresh()));
  let value = 'old';
  const gates = [];
  app.get('/', async (asked, response) => {
    const now = value;
    if (gates.length === 0) await new Promise((resolve) => gates.push(resolve));
    response.set('cache-control', 'max-age=60').send(now);
  });
  app.put('/', (asked, response) => {
    value = 'new';
    response.end();
  });
  const ask = await listen(t, http.createServer(app));
  const old = ask('/');
  while (gates.length === 0) await wait(1);
  await ask('/', { method: 'PUT' });
  gates[0]();
  assert.equal((await old).body, 'old');
  assert.deepEqual([(await ask('/')).body, (await ask('/')).body], ['new', 'new']);
});

test('each framework is cached on the programs’ runtime', async (t) => {
  const running = program(t, async () => {
    const assert = require('node:assert/strict');
    const http = require('node:http');
    const load = require('node:module').createRequire(require.resolve('drover'));
    const { createServer } = require('drover');
    const { fastifyHttpCache, httpCache, koaHttpCache } = require('drover/http-cache');
    const { cache } = createServer({ app: http.createServer(() => {}), cluster: { enabled: false } });
    /** By framework and path: a renewal may come late. */
    const counts = {};
    const answer = ({ url: asked, headers }) => {
      const [url] = asked.split('?');
      const calls = (counts[asked] = (counts[asked] ?? 0) + 1);
      const etag = '"a"';
      if (url === '/valid') return headers['if-none-match'] === etag ? [304, { etag, 'cache-control': 'max-age=0' }] : [200, { etag, 'cache-control': 'max-age=0' }, 'valid'];
      if (url === '/while') return [200, { 'cache-control': 'max-age=0, stale-while-revalidate=60' }, `call ${calls}`];
      if (url === '/error') return [calls > 1 ? 503 : 200, { 'cache-control': 'max-age=0, stale-if-error=60' }, `call ${calls}`];
      return [200, { etag, 'cache-control': url === '/private' ? 'private' : 'max-age=60' }, `call ${calls}`];
    };
    const frameworks = {
      express(own) {
        const app = load('express')();
        app.use(httpCache(own));
        app.use((request, response) => {
          const [status, headers, body] = answer(request);
          response.status(status).set(headers).send(body);
        });
        return http.createServer(app);
      },
      koa(own) {
        const app = new (load('koa'))();
        app.use(koaHttpCache(own));
        app.use((context) => {
          const [status, headers, body] = answer(context.req);
          context.status = status;
          context.set(headers);
          if (body !== undefined) context.body = body;
        });
        return http.createServer(app.callback());
      },
      async fastify(own) {
        const app = load('fastify')();
        app.register(fastifyHttpCache, { cache: own });
        app.get('/*', (request, reply) => {
          const [status, headers, body] = answer(request.raw);
          reply.code(status).headers(headers).send(body);
        });
        await app.ready();
        return app.server;
      },
    };
    for (const [name, framework] of Object.entries(frameworks)) {
      const server = await framework(cache.namespace(name));
      await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
      // Not by fetch: with If-None-Match it sends `Cache-Control: no-cache` too.
      const ask = (path, headers = {}) =>
        new Promise((resolve, reject) => {
          const { port } = server.address();
          const asked = http.get({ port, host: '127.0.0.1', path: `${path}?${name}`, headers, agent: false }, (response) => {
            let body = '';
            response.setEncoding('utf8').on('data', (piece) => (body += piece));
            response.on('end', () => resolve([response.statusCode, body]));
          });
          asked.on('error', reject);
        });
      const all = await Promise.all(Array.from({ length: 10 }, () => ask('/fresh')));
      assert.deepEqual([all[0], all[9], counts[`/fresh?${name}`]], [[200, 'call 1'], [200, 'call 1'], 1], name);
      assert.deepEqual([await ask('/fresh', { 'if-none-match': '"a"' }), counts[`/fresh?${name}`]], [[304, ''], 1], name);
      assert.deepEqual([await ask('/private'), await ask('/private')], [[200, 'call 1'], [200, 'call 2']], name);
      assert.deepEqual([await ask('/valid'), await ask('/valid'), counts[`/valid?${name}`]], [[200, 'valid'], [200, 'valid'], 2], name);
      assert.deepEqual([await ask('/error'), await ask('/error'), counts[`/error?${name}`]], [[200, 'call 1'], [200, 'call 1'], 2], name);
      assert.deepEqual([await ask('/while'), await ask('/while')], [[200, 'call 1'], [200, 'call 1']], name);
      while ((await ask('/while'))[1] === 'call 1');
      console.log(`CACHED ${name}`);
    }
    process.exit(0);
  });
  assert.deepEqual(await running.exit, { code: 0, signal: null }, running.stderr);
  assert.deepEqual([...running.stdout.matchAll(/^CACHED (.*)$/gm)].map(([, name]) => name), ['express', 'koa', 'fastify']);
});

test('a cluster makes a response once, and a change in one worker is known in all', async (t) => {
  const running = program(t, async () => {
    const { createServer } = require('drover');
    const { httpCache } = require('drover/http-cache');
    const app = createServer({ cluster: { enabled: true, config: { workers: 4 } } });
    app.use(httpCache(app));
    app.get('/page', async (request, response) => {
      const calls = await app.cache.increment('calls');
      await new Promise((resolve) => setTimeout(resolve, 100));
      response.set('cache-control', 'max-age=60').send(`page ${calls}`);
    });
    app.post('/page', (request, response) => response.end());
    app.get('/uncached', (request, response) => response.send('mine'));
    await app.start(0, '127.0.0.1');
    if (!app.isPrimary) return;
    const { port } = app.address();
    const ask = async (path, method = 'GET') => (await fetch(`http://127.0.0.1:${port}${path}`, { method })).text();
    const all = (path) => Promise.all(Array.from({ length: 200 }, () => ask(path)));
    const tell = (...values) => console.log(`TOLD ${JSON.stringify(values)}`);
    tell([...new Set(await all('/page'))], app.cache.get('calls'));
    await ask('/page', 'POST');
    // Other workers see the removal some microseconds later.
    while ((await ask('/page')) === 'page 1');
    tell([...new Set(await all('/page'))], app.cache.get('calls'));
    tell([...new Set(await all('/uncached'))]);
    await app.stopCluster();
  });
  assert.deepEqual(await running.exit, { code: 0, signal: null });
  const told = [...running.stdout.matchAll(/^TOLD (.*)$/gm)].map(([, json]) => JSON.parse(json));
  assert.deepEqual(told, [[['page 1'], 1], [['page 2'], 2], [['mine']]]);
});
