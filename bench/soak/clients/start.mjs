// The handle of the fleet: a thread that is started, reports figures, and is stopped.

import { Worker } from 'node:worker_threads';

/**
 * Starts the clients. The object's `figures` are the last that came; `failed` rejects when the thread itself does;
 * `finish()` resolves when every request has ended, `result(executions)` to how.
 */
export function startFleet({ ports, seed }) {
  const thread = new Worker(new URL('thread.mjs', import.meta.url), { workerData: { ports, seed } });
  const failed = new Promise((_, reject) => thread.once('error', reject));
  // A caller that waits for something else gets the error at the next step.
  failed.catch(() => undefined);
  const heard = (key) =>
    Promise.race([
      new Promise((resolve) => {
        thread.on('message', (message) => key in message && resolve(message[key]));
      }),
      failed,
    ]);
  const fleet = {
    figures: null,
    failed,
    finish() {
      const ended = heard('ended');
      thread.postMessage({ finish: true });
      return ended;
    },
    result(executions) {
      const result = heard('result');
      thread.postMessage({ executions });
      return result;
    },
  };
  thread.on('message', ({ figures }) => (fleet.figures = figures ?? fleet.figures));
  return fleet;
}
