'use strict';

// The program that every contender of the benchmarks serves, so that only the contender differs.
//
//   GET /             responds with the worker's name
//   GET /hang?ms=     responds with the worker's process id, then blocks its event loop for `ms`

const name = process.env.WORKER_ID ?? 'bare';
const MAX_HANG = 10_000;

function block(milliseconds) {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

/** A plain listener for http.createServer. */
function handler(request, response) {
  if (!request.url.startsWith('/hang')) {
    response.end(name);
    return;
  }
  const { searchParams } = new URL(request.url, 'http://localhost');
  const milliseconds = Math.min(Number(searchParams.get('ms')), MAX_HANG);
  // The response is sent before the loop is blocked, so that the client knows from when on the worker is blocked.
  response.end(String(process.pid), () => setImmediate(block, milliseconds));
}

module.exports = { handler };
