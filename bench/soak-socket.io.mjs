// npm run soak:socket.io [-- --clients 1000 --rolls 10 --kills 5 --workers 4 --interval 400]: clients of Socket.IO with
// connection state recovery, while the cluster rolls and its workers are killed. Each worker sends a tick to all clients
// every `interval` milliseconds, and a packet to a tenth of them.
//
// The last line of the output is JSON: `ticks` sent, `reconnections`, `recovered`, and what must be 0: `lost_sessions`,
// `missing`, `doubled`, `disordered` clients, `gaps`, `wrong` rooms or data. The exit code is 1 if it is not.

import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';

const { recovered } = createRequire(import.meta.url)('../__test__/helpers/recovery');

const { values } = parseArgs({
  options: {
    clients: { type: 'string', default: '1000' },
    rolls: { type: 'string', default: '10' },
    kills: { type: 'string', default: '5' },
    workers: { type: 'string', default: '4' },
    interval: { type: 'string', default: '400' },
  },
});
const figures = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number(value)]));

const ends = [];
try {
  const result = await recovered({ after: (end) => ends.unshift(end) }, { ...figures, patience: 3_600_000 });
  const { lost_sessions, missing, doubled, disordered, gaps, wrong } = result;
  process.exitCode = lost_sessions + missing + doubled + disordered + gaps + wrong === 0 ? 0 : 1;
  console.log(JSON.stringify(result));
} finally {
  for (const end of ends) await end();
}
