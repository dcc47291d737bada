'use strict';

// The program that every contender of the benches serves, so that only what stands before it differs.
//
//   GET /             answers the worker's name
//   GET /hang?ms=     answers the worker's process id, then blocks its event loop for so long

const name = process.env.WORKER_ID ?? 'bare';
const LONGEST_HANG = 10_000;

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
  const milliseconds = Math.min(Number(searchParams.get('ms')), LONGEST_HANG);
  // The answer has left before the loop stops: who asked knows from then on that it takes nothing.
  response.end(String(process.pid), () => setImmediate(block, milliseconds));
}

module.exports = { handler };
