'use strict';

// The program for screenshots of the dashboard: a shop with quick pages, slow reports and a bug. PORT and MONITORING
// set the ports.

const http = require('node:http');
const { createServer } = require('drover');

const after = (most) => Math.random() ** 3 * most;

const pages = {
  '/': (answer) => setTimeout(answer, after(30), 'shop'),
  '/search': (answer) => setTimeout(answer, 5 + after(140), '[]'),
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
  const page = pages[request.url] ?? pages['/'];
  page((text) => response.end(text), response);
});

const app = createServer({
  app: server,
  cluster: {
    enabled: true,
    config: { workers: 4, monitoring: { port: Number(process.env.MONITORING) } },
  },
});

app.start(Number(process.env.PORT), '127.0.0.1').then(() => {
  if (app.isPrimary) console.log('the shop is open');
});
