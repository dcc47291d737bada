// The measurements of bench:restart. Each starts a server, measures an operation, stops the server, and resolves to the
// figures of one round, or to null if this version of drover does not support the operation.

import { setTimeout as wait } from 'node:timers/promises';
import { Connection } from '../soak/clients/connection.mjs';
import { Control } from '../support/control.mjs';
import { load } from '../support/loadgen.mjs';
import { startServer } from '../support/processes.mjs';

const REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n';
const STANDBY_MS = 10_000;
const ROLL_WORKERS = 4;
const ROLL_RATE = 200;
const ROLL_S = 1;
const HELD = 64;
const EVEN_AMONG = 4;
const REBALANCE_MS = 10_000;
const THINK_MS = 20;

const server = new URL('../servers/ordered.js', import.meta.url).pathname;

/** drover with commands and this ClusterConfig; `env` may make it one process. */
const ordered = (config, env = {}) => (port) => ({
  command: process.execPath,
  args: [server, port, JSON.stringify(config)],
  env,
  readyLines: 1,
});

/** Runs `measure({ server, control })`; null if the cluster or a command is not supported yet. */
async function whereSupported(config, measure) {
  let server;
  try {
    server = await startServer(ordered(config));
    return await measure({ server, control: new Control(server) });
  } catch (error) {
    if (/NOT_SUPPORTED/.test(`${error.code} ${error.message}`)) return null;
    throw error;
  } finally {
    await server?.stop();
  }
}

/** Resolves to the process id that responds on a new connection. */
async function answeredBy(port) {
  const connection = new Connection(port);
  const answer = connection.ask();
  connection.write(REQUEST);
  const { body } = await answer;
  connection.close();
  return Number(body);
}

/** Milliseconds from the start of one bare process to its first answer. */
export async function bareStart() {
  const bare = await startServer(ordered({}, { CLUSTER_ENABLED: 'false' }));
  try {
    await answeredBy(bare.port);
    return performance.now() - bare.startedAt;
  } finally {
    await bare.stop();
  }
}

/**
 * Milliseconds from SIGKILL of the only worker to the next one's first answer; the connection that gets it came
 * right after the death and waited. `standbyWorkers` are ready before.
 */
export const replacement = (standbyWorkers = 0) =>
  whereSupported({ workers: 1, processManagement: { standbyWorkers } }, async ({ server, control }) => {
    await standing(control, standbyWorkers);
    const old = await answeredBy(server.port);
    const start = performance.now();
    process.kill(old, 'SIGKILL');
    let next;
    // A connection that the dying process had accepted ends with it and is opened again.
    do next = await answeredBy(server.port).catch(() => old);
    while (next === old);
    return performance.now() - start;
  });

/** Resolves when this many standby workers are ready. */
async function standing(control, count) {
  const deadline = performance.now() + STANDBY_MS;
  while ((await control.order('workers')).filter(({ detail }) => detail === 'standby').length < count) {
    if (performance.now() > deadline) throw new Error(`no ${count} standby workers after ${STANDBY_MS} ms`);
    await wait(10);
  }
}

/** Seconds per worker of a rolling restart of four workers under a light load, and the number of failed requests. */
export const rollingRestart = () =>
  whereSupported({ workers: ROLL_WORKERS }, async ({ server, control }) => {
    const loaded = load('new', server.port, { connections: HELD, rate: ROLL_RATE, seconds: ROLL_S });
    const start = performance.now();
    await control.order('roll');
    const seconds = (performance.now() - start) / 1000;
    const { errors, stuck } = await loaded;
    return { secondsPerWorker: seconds / ROLL_WORKERS, failed: errors + stuck };
  });

/**
 * 64 keep-alive connections come while one worker is up, then there are four, and every connection is used for 10 s.
 * Resolves to how many each worker holds after that, and how many were lost.
 */
export const rebalanced = () =>
  whereSupported(
    { workers: 1, loadBalancing: { strategy: 'least-connections', rebalance: true } },
    async ({ server, control }) => {
      const held = Array.from({ length: HELD }, () => ({ connection: new Connection(server.port), pid: null }));
      const ask = async (one) => {
        const answer = one.connection.ask();
        one.connection.write(REQUEST);
        one.pid = Number((await answer).body);
      };
      await Promise.all(held.map(ask));
      await control.order('scale', { to: EVEN_AMONG });
      const end = performance.now() + REBALANCE_MS;
      const use = async (one) => {
        while (performance.now() < end) {
          await ask(one);
          await wait(THINK_MS);
        }
      };
      const ends = await Promise.allSettled(held.map(use));
      const alive = held.filter((_, n) => ends[n].status === 'fulfilled');
      held.forEach(({ connection }) => connection.close());
      const workers = await control.order('workers');
      const counts = workers.map(({ pid }) => alive.filter((one) => one.pid === pid).length);
      return { counts, lost: HELD - alive.length };
    },
  );
