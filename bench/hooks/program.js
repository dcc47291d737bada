'use strict';

// One worker that serves with and without drover's per-request hooks, alternating every TURN milliseconds, and prints
// the cost of a request in each slice: lines `TURNS [[isHooked, microseconds], ...]` on standard output.
//
// argv: port

const http = require('node:http');
const { createServer } = require('../..');
const { handler } = require('../app');

const TURN = 40;
/** Turns per line of output. */
const REPORTED = 100;
/** On, off, off, on: drift of the machine affects both settings equally; equal neighbours serve as the control. */
const PATTERN = [true, false, false, true];

function takeTurns(hooks, count) {
  let turn = 0;
  let turns = [];
  let [cpu, requests] = [process.cpuUsage(), count()];
  setInterval(() => {
    const used = process.cpuUsage(cpu);
    const served = count() - requests;
    if (served > 0) turns.push([PATTERN[turn % 4], (used.user + used.system) / served]);
    if (turns.length === REPORTED) {
      console.log(`TURNS ${JSON.stringify(turns)}`);
      turns = [];
    }
    turn += 1;
    const isHooked = PATTERN[turn % 4];
    for (const { prototype, name, own, hook } of hooks) prototype[name] = isHooked ? hook : own;
    [cpu, requests] = [process.cpuUsage(), count()];
  }, TURN);
}

let requests = 0;
const counted = (request, response) => {
  requests += 1;
  handler(request, response);
};
const app = createServer({
  app: http.createServer(counted),
  cluster: {
    enabled: true,
    config: { workers: 1, logging: { enabled: false }, env: { NODE_OPTIONS: `--require ${require.resolve('./originals.js')}` } },
  },
});
app.start(Number(process.argv[2]), '127.0.0.1').then(() => {
  if (app.isPrimary) return;
  const hooks = globalThis[Symbol.for('drover.bench.hooks')]();
  console.log(`HOOKS ${hooks.map(({ name }) => name).join(' ')}`);
  takeTurns(hooks, () => requests);
});
