'use strict';

// Clusters that are the machines of a fleet, here all on one host, and ways to cut them off from Redis.

const net = require('node:net');
const { once } = require('node:events');
const { freePort } = require('./http');
const { program } = require('./program');

/** Workers of a machine. */
const WORKERS = 2;

/** What every worker prints when it learns that Redis is there, or gone. Self-contained: programs include its source. */
function sayFleet(app) {
  if (!app.isWorker) return;
  const say = (state) => console.log(`FLEET ${state};`);
  for (const state of ['available', 'unavailable']) app.fleet.on(state, () => say(state));
  if (app.fleet.isAvailable) say('available');
}

/**
 * Starts a machine: `main` is its program, which gets { port, redis, workers }, `sayFleet` and what is `given`, and prints
 * UP when it serves. Resolves to { port, running } when its workers reach Redis. `redis`: its options.
 */
async function machine(t, main, { redis, given = {} }) {
  const port = await freePort();
  const all = { port, workers: WORKERS, redis: { host: '127.0.0.1', prefix: 'test:', ...redis }, ...given };
  const running = program(t, `'use strict';\n(${main})({ ...${JSON.stringify(all)}, sayFleet: ${sayFleet} });\n`);
  await running.until(/^UP$/m);
  await running.untilMany(WORKERS, /^FLEET available;$/m);
  return { port, running };
}

/** A way to a server that can be cut: { port, cut(), restore() }. */
async function wayTo(t, port) {
  const own = await freePort();
  const open = new Set();
  const server = net.createServer((near) => {
    const far = net.connect(port, '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ]) {
      open.add(from);
      from.on('error', () => {}).on('close', () => {
        open.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  });
  const way = {
    port: own,
    /** Nobody gets there any more. */
    async cut() {
      server.close();
      for (const socket of open) socket.destroy();
      if (server.listening) await once(server, 'close');
    },
    async restore() {
      server.listen(own, '127.0.0.1');
      await once(server, 'listening');
    },
  };
  t.after(() => way.cut());
  await way.restore();
  return way;
}

/** Resolves when all workers of the machines know what `act` does: that Redis is 'available', or 'unavailable'. */
async function noticed(machines, state, act) {
  const said = new RegExp(`^FLEET ${state};$`, 'gm');
  const before = machines.map(({ running }) => running.stdout.match(said)?.length ?? 0);
  await act();
  await Promise.all(machines.map(({ running }, at) => running.untilMany(before[at] + WORKERS, said)));
}

/** For a Redis server that has after a kill what it had before. */
const DURABLE = ['--appendonly', 'yes', '--appendfsync', 'always'];

/**
 * Clients that ask one time after the other, each what `next` returns for it: { answers, more(count), end() }; `more`
 * resolves when so many more have been answered, `end` when all have.
 */
function asking(count, next) {
  const answers = [];
  const waiting = new Set();
  let ends = false;
  const clients = Array.from({ length: count }, async (_, at) => {
    while (!ends) {
      const since = performance.now();
      const answer = await next(at);
      answers.push({ ...answer, time: performance.now() - since });
      for (const look of waiting) look();
    }
  });
  const all = Promise.all(clients);
  return {
    answers,
    more(wanted) {
      const goal = answers.length + wanted;
      const reached = new Promise((resolve) => waiting.add(() => answers.length >= goal && resolve()));
      // A client that fails is no reason to wait.
      return Promise.race([reached, all]);
    },
    async end() {
      ends = true;
      await all;
    },
  };
}

module.exports = { DURABLE, asking, machine, noticed, wayTo };
