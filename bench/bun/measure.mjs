// The measurements of bench:bun that bench:dispatch has not. Each starts a contender, loads it, stops it, and resolves to
// the figures of one round.

import { Control } from '../support/control.mjs';
import { startServer } from '../support/processes.mjs';
import { load } from '../support/loadgen.mjs';

const ROLL_RATE = 300;
const ROLL_S = 6;
const KEPT = 16;

/** A rolling restart while new connections come and kept ones are used; failed and hung requests of both. */
export async function roll(contender) {
  const server = await startServer(contender);
  try {
    const control = new Control(server);
    const loads = [
      load('new', server.port, { connections: 64, rate: ROLL_RATE, seconds: ROLL_S }),
      load('keepalive', server.port, { connections: KEPT, seconds: ROLL_S }),
    ];
    const start = performance.now();
    await control.order('roll');
    const seconds = (performance.now() - start) / 1000;
    const reports = await Promise.all(loads);
    const sum = (figure) => reports.reduce((total, report) => total + report[figure], 0);
    return { seconds, failed: sum('errors'), hung: sum('stuck') };
  } finally {
    await server.stop();
  }
}
