'use strict';

// The program for screenshots of the dashboard: a shop with quick pages, a search whose results are cached, slow reports
// and a bug. PORT and MONITORING set the ports.

const http = require('node:http');
const { createServer } = require('drover');

const after = (most) => Math.random() ** 3 * most;

/** What a search takes that is not in the cache. */
const search = () => new Promise((resolve) => setTimeout(resolve, 5 + after(140), 'x'.repeat(after(9000))));

const pages = {
  '/': (answer, response, visitor) => {
    const sessions = app.cache.namespace('sessions');
    sessions.set(visitor, { visits: (sessions.get(visitor)?.visits ?? 0) + 1 }, { ttl: '30m' });
    app.cache.increment('visits');
    setTimeout(answer, after(30), 'shop');
  },
  '/search': (answer, response, words) => app.cache.namespace('search').getOrSet(words, search, { ttl: '20s', tags: ['products'] }).then(answer),
  '/report': (answer) => {
    const until = performance.now() + 20 + after(60);
    while (performance.now() < until);
    answer('done');
  },
  '/checkout': (answer, response) => {
    response.statusCode = 500;
    answer('the payment service gave no answer');
  },
};

const server = http.createServer((request, response) => {
  const { pathname, search: words } = new URL(request.url, 'http://shop');
  const page = pages[pathname] ?? pages['/'];
  page((text) => response.end(text), response, words);
});

const app = createServer({
  app: server,
  cluster: {
    enabled: true,
    config: { workers: 3, monitoring: { port: Number(process.env.MONITORING) } },
  },
});

app.start(Number(process.env.PORT), '127.0.0.1').then(() => {
  if (app.isPrimary) console.log('the shop is open');
});
