// A real cluster that scales by its requests in flight: what fails meanwhile.

import { once } from 'node:events';
import http from 'node:http';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { startServer } from '../support/processes.mjs';

const script = fileURLToPath(new URL('../servers/scaled.js', import.meta.url));

const CONFIG = {
  workers: 2,
  logging: { enabled: false },
  monitoring: { port: false },
  autoScaling: {
    enabled: true,
    minWorkers: 2,
    maxWorkers: 4,
    strategy: 'requests',
    requestsPerWorker: 10,
    scaleUpThreshold: { consecutiveChecks: 1 },
    scaleDownThreshold: { idleTime: 0 },
    scaleDownCooldown: 1000,
  },
};

/** Milliseconds until the cluster has scaled. */
const PATIENCE = 120_000;

/** Requests on keep-alive connections, one after the other on each. */
class Clients {
  counts = { answered: 0, failed: 0 };
  #agent = new http.Agent({ keepAlive: true });
  #port;
  #wanted = 0;
  #running = [];

  constructor(port) {
    this.#port = port;
  }

  /** So many from now on. */
  set(count) {
    this.#wanted = count;
    for (let number = this.#running.length; number < count; number += 1) this.#running.push(this.#client(number));
  }

  async #client(number) {
    while (number < this.#wanted) {
      const done = await this.#one().catch(() => false);
      this.counts[done ? 'answered' : 'failed'] += 1;
    }
  }

  async #one() {
    const [response] = await once(http.get({ port: this.#port, host: '127.0.0.1', agent: this.#agent }), 'response');
    response.resume();
    await once(response, 'end');
    return response.statusCode === 200;
  }

  async stop() {
    this.#wanted = 0;
    await Promise.all(this.#running);
    this.#agent.destroy();
  }
}

/**
 * 40 requests in flight until there are 4 workers, then 8 until there are 2 again. `quick`: the latter by hand, without
 * the minute that the window takes. Resolves to { answered, failed, up_ms, down_ms }.
 */
export async function scaleForReal(quick) {
  const env = { CLUSTER_CONFIG: JSON.stringify(CONFIG) };
  const server = await startServer((port) => ({
    command: process.execPath,
    args: [script],
    env: { ...env, PORT: String(port) },
    readyLines: 1,
  }));
  const sizes = createInterface({ input: server.stdout });
  const reached = async (size) => {
    const since = performance.now();
    const signal = AbortSignal.timeout(PATIENCE);
    for (;;) {
      const [line] = await once(sizes, 'line', { signal });
      if (line === `workers ${size}`) return Math.round(performance.now() - since);
    }
  };
  const clients = new Clients(server.port);
  try {
    clients.set(40);
    const up = await reached(4);
    clients.set(8);
    if (quick) server.stdin.write('scale 2\n');
    const down = await reached(2);
    return { ...clients.counts, up_ms: up, down_ms: down };
  } finally {
    await clients.stop();
    await server.stop();
  }
}
