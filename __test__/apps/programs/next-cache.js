'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { request } = require('../../helpers/http');
const next = require('./next');
const nextStart = require('./next-start');

const root = path.resolve(__dirname, '..', '..', '..');
const example = path.join(root, 'examples', 'next');

/** Clients, enough for each of two workers to have some. */
const CLIENTS = 8;

/** A file of the example. */
const textOf = (file) => fs.readFileSync(path.join(example, file), 'utf8');
const pages = fs.readdirSync(path.join(example, 'app'), { recursive: true }).filter((file) => file.endsWith('.js'));

/**
 * The page, as each client's process gives it to this client: two workers give the same. After /refresh all give another
 * one, made once; after `/refresh?later` the same once more, and another one soon.
 */
async function revalidate({ port }) {
  const clients = Array.from({ length: CLIENTS }, () => new http.Agent({ keepAlive: true, maxSockets: 1 }));
  const ask = async (agent, options) => (await request(port, { agent, ...options })).body;
  const pagesOf = async () => [...new Set(await Promise.all(clients.map((agent) => ask(agent, { path: '/' }))))];
  const refresh = (agent, query = '') => ask(agent, { path: `/refresh${query}`, method: 'POST' });
  try {
    const who = await Promise.all(clients.map(async (agent) => JSON.parse(await ask(agent, { path: '/who' }))));
    const pids = new Set(who.map(({ pid }) => pid));
    // Without drover it is one process.
    assert.equal(pids.size, who[0].worker === undefined ? 1 : 2, `processes: ${[...pids]}`);
    await ask(clients[0], { path: '/' });
    const before = await pagesOf();
    const seen = [];
    // Whichever worker has the client, all workers must have heard of it.
    for (const agent of clients) {
      await refresh(agent);
      await ask(agent, { path: '/' });
      seen.push(await pagesOf());
    }
    const last = seen.at(-1)[0];
    await refresh(clients[0], '?later');
    const stale = await ask(clients.at(-1), { path: '/' });
    let fresh = stale;
    while (fresh === stale) fresh = await ask(clients[0], { path: '/' });
    assert.ok(before.length === 1 && seen.every((answers) => answers.length === 1), 'workers give different pages');
    assert.equal(new Set([...before, ...seen.flat()]).size, CLIENTS + 1, 'after /refresh there is a new page');
    assert.equal(stale, last, 'after /refresh?later the page is used once more');
    return 'revalidated';
  } finally {
    for (const agent of clients) agent.destroy();
  }
}

// The example: `next start`, with one cache for all workers.
module.exports = {
  versions: next.versions,
  node: next.node,
  build: next.build,
  bin: 'next',
  files: {
    'package.json': '{ "private": true }',
    'node_modules/drover/index.js': `module.exports = require(${JSON.stringify(root)});`,
    'cache-handler.js': textOf('cache-handler.js'),
    'example.config.js': textOf('next.config.js'),
    'next.config.js': `
      const path = require('node:path');
      module.exports = { ...require('./example.config.js'), turbopack: { root: path.join(__dirname, '..', '..') } };`,
    'instrumentation.js': next.files['instrumentation.js'],
    ...Object.fromEntries(pages.map((file) => [`app/${file}`, textOf(`app/${file}`)])),
  },
  args: nextStart.args,
  ask: async ({ get }) => {
    const { status, body } = await get('/');
    return [status, body.match(/in stock|made by process/g), (await get('/nowhere')).status];
  },
  once: revalidate,
  says: /in stock.*404/,
  hook: next.hook,
};
