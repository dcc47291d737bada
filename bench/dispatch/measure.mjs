// The measurements of bench:dispatch. Each starts a contender, warms it up, loads it, stops it, and resolves to the
// figures of one round; the comparison is done elsewhere.

import http from 'node:http';
import { text } from 'node:stream/consumers';
import { cpuTime, startServer } from '../support/processes.mjs';
import { load } from '../support/loadgen.mjs';

const CONCURRENCY = 64;
const QUIET_RATE = 2000;
const HANG_RATE = 600;
const HANG_MS = 1500;
const KILL_AFTER_MS = 300;
const HELD = 16;

async function withServer(contender, measure) {
  const server = await startServer(contender);
  try {
    return await measure(server);
  } finally {
    await server.stop();
  }
}

const warm = (server, times) => load('new', server.port, { connections: CONCURRENCY, seconds: times.warmUp });

/** A new connection for each request, at the maximum rate. */
export const newConnections = (contender, times) =>
  withServer(contender, async (server) => {
    await warm(server, times);
    return load('new', server.port, { connections: CONCURRENCY, seconds: times.run });
  });

/** The same at a rate that leaves the machine idle; with the first process's processor time per connection. */
export const quietRate = (contender, times) =>
  withServer(contender, async (server) => {
    await warm(server, times);
    const before = cpuTime(server.pid);
    const report = await load('new', server.port, { connections: 512, seconds: times.rate, rate: QUIET_RATE });
    return { ...report, primaryUs: (cpuTime(server.pid) - before) / 1000 / report.conns };
  });

/** Many requests on each of a few connections, the same number per worker. */
export const keepAlive = (contender, workers, times) =>
  withServer(contender, async (server) => {
    const run = (seconds) => load('keepalive', server.port, { connections: CONCURRENCY, workers, seconds });
    await run(times.warmUp);
    return run(times.run);
  });

/** How many of 16 long-lived connections each worker holds, at first and after one worker's were opened again. */
export const fairness = (contender, workers) =>
  withServer(contender, async (server) => {
    const report = await load('hold', server.port, { connections: HELD });
    const counts = (held) => Array.from({ length: workers }, (_, id) => held[id] ?? 0);
    return { first: counts(report.workers), afterChurn: counts(report.workers_after_churn) };
  });

/** Blocks one worker's event loop; resolves to its process id once it is blocked. */
function hang(port) {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', port, path: `/hang?ms=${HANG_MS}`, agent: false });
    request.once('error', reject);
    request.once('response', (response) => text(response).then((pid) => resolve(Number(pid)), reject));
  });
}

/**
 * One worker is blocked while connections arrive; then one is blocked again and killed. It is idle when it is blocked,
 * so it has accepted none of these connections: each should be answered soon. Errors and connections without a response
 * are the sums of both.
 */
export const hangAndKill = (contender, times) =>
  withServer(contender, async (server) => {
    await warm(server, times);
    await hang(server.port);
    const arrivals = { connections: 1000, rate: HANG_RATE };
    const stalled = await load('new', server.port, { ...arrivals, seconds: HANG_MS / 1000 });
    const victim = await hang(server.port);
    const timer = setTimeout(() => process.kill(victim, 'SIGKILL'), KILL_AFTER_MS);
    const killed = await load('new', server.port, { ...arrivals, seconds: 1.2 });
    clearTimeout(timer);
    return {
      maxMs: (stalled.max_us ?? Infinity) / 1000,
      errors: stalled.errors + killed.errors,
      stuck: stalled.stuck + killed.stuck,
    };
  });
