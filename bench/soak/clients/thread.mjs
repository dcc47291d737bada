// The fleet's thread: its clients do not share a thread with the evaluation. It reports totals regularly; on `finish`
// the clients end, and on `executions` (how often each POST was executed) it reports how all requests ended.

import { parentPort, workerData } from 'node:worker_threads';
import { Fleet } from './fleet.mjs';
import { runHttpClients } from './http.mjs';
import { runWebsocketClients } from './websocket.mjs';
import journal from '../servers/journal.js';

const TELL_MS = 500;

const fleet = new Fleet(workerData);
const { ledger } = fleet;
const over = Promise.all([runHttpClients(fleet), runWebsocketClients(fleet)]);

const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);
const figures = () => ({ ...ledger.totals(), reopened: sum(fleet.reopened) });
setInterval(() => parentPort.postMessage({ figures: figures() }), TELL_MS).unref();

parentPort.on('message', async ({ finish, executions }) => {
  if (finish) {
    fleet.isOver = true;
    await over;
    parentPort.postMessage({ ended: true });
  } else {
    for (const [id, times] of executions) if (times > 1) ledger.executedTwice(id, journal.now());
    const { failures, kinds } = ledger;
    parentPort.postMessage({
      result: { figures: figures(), failures, kinds, reopened: fleet.reopened, resent: fleet.resent },
    });
    parentPort.close();
  }
});
