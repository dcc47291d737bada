// The contenders: drover and its peers, each with the same program. A contender is a function of the port.

import path from 'node:path';
import { loadgenBinary } from './loadgen.mjs';

const server = (name) => path.join(import.meta.dirname, '..', 'servers', name);
const node = process.execPath;

/** One plain process. */
export const bare = () => (port) => ({
  command: node,
  args: [server('plain.js')],
  env: { PORT: port },
  readyLines: 1,
});

/** node:cluster; `policy` is `rr` (its default on Linux) or `none`. */
export const nodeCluster = (policy) => (workers) => (port) => ({
  command: node,
  args: [server('cluster.js'), workers, policy],
  env: { PORT: port },
  readyLines: workers,
});

/** A process for each worker on a SO_REUSEPORT listener of its own; the kernel's hash places connections. */
export const reusePort = (workers) => (port) => ({
  command: loadgenBinary,
  args: ['reuseport-launch', `127.0.0.1:${port}`, '--workers', workers, '--', node, server('plain.js')],
  env: {},
  readyLines: workers,
  endsWithStdin: true,
});

/** drover with this configuration (ClusterConfig without `workers`). */
export const drover = (config = {}) => (workers) => (port) => ({
  command: node,
  args: [server('drover.js'), port, workers, JSON.stringify(config)],
  env: {},
  readyLines: 1,
});
