'use strict';

// An API that others than this machine reach: a cluster in a network of its own, whose API is on every address there,
// and a way to it.

const path = require('node:path');
const { once } = require('node:events');
const { folder, ownNetwork, program } = require('./program');

/** Ports of the network of its own, where both are free. */
const PORT = 8080;
const API = 3003;

/** Passes on what comes to where it listens. */
function passOn(from, to) {
  const server = require('node:net').createServer((near) => {
    const far = require('node:net').connect(to);
    near.pipe(far).pipe(near);
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
  });
  return server.listen(from);
}

/**
 * Starts the cluster of `main`, which gets { port, config } as `given` and prints that it is ready. Resolves to
 * { cluster, api, socket }: the running program, a port of this machine's that leads to its API, and its control socket.
 */
async function remoteApi(t, main, monitoring) {
  const way = path.join(folder(t), 'api.sock');
  const given = { port: PORT, config: { monitoring: { port: API, host: '0.0.0.0', ...monitoring } } };
  const script = `'use strict';
(${main})(${JSON.stringify(given)});
if (process.env.CLUSTER_WORKER !== 'true') (${passOn})(${JSON.stringify(way)}, { port: ${API}, host: '127.0.0.1' });
`;
  const cluster = program(t, script, ownNetwork());
  const { socket } = await cluster.event('monitoring:listening', { url: /^http:\/\/0\.0\.0\.0:/ });
  await cluster.until(/the cluster is ready/);
  const bridge = passOn({ port: 0, host: '127.0.0.1' }, { path: way });
  t.after(() => bridge.close());
  await once(bridge, 'listening');
  return { cluster, api: bridge.address().port, socket };
}

module.exports = { remoteApi };
