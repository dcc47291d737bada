'use strict';

// examples/next: its cache handler does what Next.js documents for one (a custom cache handler of Next.js 16), in one
// process and in the workers of a cluster. Next.js itself runs it in `npm run test:apps -- next-cache`.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { freePort, keepAlive } = require('./helpers/http');
const { folder } = require('./helpers/program');
const { run } = require('./helpers/run');
const CacheHandler = require('../examples/next/cache-handler');

const example = path.join(__dirname, '..', 'examples', 'next');

const handler = new CacheHandler({ revalidatedTags: [], flushToDisk: true });

/** A key that no other test has. */
let count = 0;
const freshKey = () => `key ${(count += 1)}`;

const page = (tags) => ({
  kind: 'APP_PAGE',
  html: '<p>page</p>',
  rscData: Buffer.from([1, 0, 255]),
  status: 200,
  postponed: undefined,
  headers: { 'x-next-cache-tags': tags },
  segmentData: new Map([['/_tree', Buffer.from('segment')]]),
});
const ofPage = { kind: 'APP_PAGE', isFallback: false };

const data = { kind: 'FETCH', data: { headers: {}, body: 'data', url: 'http://database/' }, revalidate: 60 };
const setData = (tags) => ({ fetchCache: true, tags });
const ofData = (tags, softTags = []) => ({ kind: 'FETCH', tags, softTags });

/** A page that is stored, with a tag of its own. */
async function storedPage(cacheControl = { revalidate: 60, expire: 3600 }) {
  const [key, tag] = [freshKey(), `tag ${count}`];
  await handler.set(key, page(`other,${tag}`), { cacheControl, isFallback: false });
  return { key, tag, get: () => handler.get(key, ofPage) };
}

test('the cache handler returns what was stored: buffers, maps, null, with time and lifetime', async (t) => {
  const now = Date.now();
  t.mock.timers.enable({ apis: ['Date'], now });
  assert.equal(await handler.get(freshKey(), ofPage), null, 'nothing is null');
  const { get } = await storedPage();
  const { value, lastModified, cacheControl } = await get();
  assert.ok(Buffer.from([1, 0, 255]).equals(value.rscData) && Buffer.from('segment').equals(value.segmentData.get('/_tree')));
  assert.deepEqual([value.kind, value.html, value.status, lastModified, cacheControl], ['APP_PAGE', '<p>page</p>', 200, now, { revalidate: 60, expire: 3600 }]);

  const [missing, fetched] = [freshKey(), freshKey()];
  await handler.set(missing, null, { cacheControl: { revalidate: 60, expire: undefined } });
  assert.equal((await handler.get(missing, ofPage)).value, null, 'a page that does not exist');
  await handler.set(fetched, data, setData(['a']));
  assert.deepEqual((await handler.get(fetched, ofData(['a']))).value, data);
  assert.equal(handler.resetRequestCache(), undefined);
});

test('revalidateTag removes what has the tag: of pages in their headers, of data its own and those of its pages', async () => {
  const { tag, get } = await storedPage();
  const [fetched, other] = [freshKey(), freshKey()];
  await handler.set(fetched, data, setData(['stock']));
  await handler.set(other, data, setData(['prices']));
  await handler.revalidateTag(['nobody has it', tag]);
  assert.equal(await get(), null);
  await handler.revalidateTag('stock');
  assert.equal(await handler.get(fetched, ofData(['stock'])), null);
  assert.equal((await handler.get(other, ofData(['prices'], ['_N_T_/']))).value.kind, 'FETCH');
  await handler.revalidateTag('_N_T_/');
  assert.equal(await handler.get(other, ofData(['prices'], ['_N_T_/'])), null, 'revalidatePath of a page that uses it');
  assert.equal((await handler.get(other, ofData(['prices'], ['_N_T_/blog']))).value.kind, 'FETCH', 'for other pages it is there');
});

test('with a duration revalidateTag leaves what has the tag to be used as stale, until that is over', async (t) => {
  const now = Date.now();
  t.mock.timers.enable({ apis: ['Date'], now });
  const { key, tag, get } = await storedPage();
  t.mock.timers.tick(10);
  await handler.revalidateTag(tag, { expire: 30 });
  const { value, lastModified, cacheControl } = await get();
  assert.equal(value.html, '<p>page</p>');
  // What Next.js takes for stale, but not for expired.
  assert.ok(lastModified + cacheControl.revalidate * 1000 < now && cacheControl.expire === undefined);
  t.mock.timers.tick(29_999);
  assert.equal((await get()).lastModified, lastModified);
  t.mock.timers.tick(1);
  assert.equal(await get(), null);

  await handler.set(key, page(tag), { cacheControl: { revalidate: 60, expire: 3600 } });
  assert.equal((await get()).lastModified, Date.now(), 'what was made since is fresh');
  t.mock.timers.tick(1);
  await handler.revalidateTag(tag, {});
  t.mock.timers.tick(1e9);
  assert.equal((await get()).lastModified, lastModified, 'without `expire` for any time');
  await handler.revalidateTag(tag, { expire: 0 });
  assert.equal(await get(), null);
});

/** Instead of Next.js' command line: a server whose requests are calls of the handler. */
function standIn() {
  const [command, folder, option, port] = process.argv.slice(2);
  const { cacheHandler, cacheMaxMemorySize } = require(require('node:path').join(folder, 'next.config.js'));
  if (command !== 'start' || option !== '--port' || cacheMaxMemorySize !== 0) process.exit(1);
  const handler = new (require(cacheHandler))({});
  const context = { kind: 'FETCH', fetchCache: true, tags: ['stock'], softTags: [] };
  const actions = {
    '/set': () => handler.set('key', { kind: 'FETCH', data: { body: String(process.pid) } }, context),
    '/get': async () => (await handler.get('key', context))?.value.data.body,
    '/refresh': () => handler.revalidateTag('stock'),
  };
  require('node:http')
    .createServer(async ({ url }, response) => response.end(JSON.stringify({ pid: process.pid, found: await actions[url]() })))
    .listen(port);
}

test('the example next runs `next start` in its workers, and all of them see what one revalidates', async (t) => {
  const place = folder(t);
  fs.cpSync(example, place, { recursive: true });
  const next = path.join(place, 'node_modules', 'next', 'dist', 'bin');
  fs.mkdirSync(next, { recursive: true });
  fs.writeFileSync(path.join(next, 'next'), `(${standIn})();`);
  const port = await freePort();
  const running = run(t, path.join(place, 'server.js'), { env: { PORT: String(port), CLUSTER_WORKERS: '2' } });
  await running.until(new RegExp(`on http://localhost:${port}`));
  const clients = new Map();
  const ask = async (client, action) => (await client.request({ path: action })).json();
  while (clients.size < 2) {
    const client = keepAlive(port);
    t.after(() => client.close());
    clients.set((await ask(client, '/get')).pid, client);
  }
  assert.deepEqual([...clients.keys()].sort(), running.others().sort());
  const [[pid, first], [, second]] = clients;
  await ask(first, '/set');
  assert.equal((await ask(second, '/get')).found, String(pid));
  await ask(second, '/refresh');
  assert.equal((await ask(first, '/get')).found, undefined);
  assert.equal((await ask(second, '/get')).found, undefined);
  running.signal('SIGTERM');
  assert.deepEqual(await running.exit, { code: 0, signal: null }, running.output);
});
