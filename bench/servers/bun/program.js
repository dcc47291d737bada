'use strict';

// The program of every contender under Bun: KIND is `serve` (Bun.serve) or `http` (node:http). It listens on PORT of
// loopback, with SO_REUSEPORT if REUSE_PORT is set, prints `ready` then, and answers as bench/app.js does. With REUSE_PORT
// it stops gracefully at SIGTERM, as Bun's documentation shows it.

const { Bun } = globalThis;
const { KIND, PORT, REUSE_PORT, WORKER_ID } = process.env;
const name = WORKER_ID ?? 'bare';
const MAX_HANG = 10_000;

function block(milliseconds) {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

if (REUSE_PORT) {
  // node:http ignores the option, and calls this.
  const { serve } = Bun;
  Bun.serve = (options) => serve({ ...options, reusePort: true });
}

function serveWithBun() {
  const server = Bun.serve({
    port: Number(PORT),
    hostname: '127.0.0.1',
    fetch(request) {
      const { pathname, searchParams } = new URL(request.url);
      if (pathname !== '/hang') return new Response(name);
      // The response is sent before the loop is blocked, in the same iteration.
      setImmediate(block, Math.min(Number(searchParams.get('ms')), MAX_HANG));
      return new Response(String(process.pid));
    },
  });
  console.log('ready');
  return () => server.stop();
}

function serveWithNode() {
  const { handler } = require('../../app');
  const server = require('node:http').createServer(handler);
  server.listen(Number(PORT), '127.0.0.1', () => console.log('ready'));
  return () => server.close();
}

const stop = KIND === 'serve' ? serveWithBun() : serveWithNode();
if (REUSE_PORT) process.on('SIGTERM', stop);
