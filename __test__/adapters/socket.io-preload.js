'use strict';

// Before the tests of Socket.IO for adapters between processes: the class that theirs extends is drover's adapter, and
// where they wait for one tick, which is what their bus needs, they wait as long as messages need. RECOVERY=1: the servers
// have connection state recovery.

const http = require('node:http');
const path = require('node:path');
const { setTimeout: wait } = require('node:timers/promises');
const { createServer } = require('../..');
const { createAdapter } = require('../../lib/adapters/socket.io');
const { replace } = require('./replace');

/** Milliseconds; a message takes one. */
const ON_THE_WAY = 50;

const folder = path.resolve('packages', 'socket.io-adapter');
const adapterOf = createAdapter(createServer({ app: http.createServer(() => {}), cluster: { enabled: false } }));

class ClusterAdapterWithHeartbeat {
  constructor(nsp) {
    if (process.env.RECOVERY === '1') nsp.server.opts.connectionStateRecovery = { maxDisconnectionDuration: 120_000, skipMiddlewares: true };
    // What the test's class overrides is for its own bus.
    return new adapterOf(nsp);
  }
}

const util = require(path.join(folder, 'test', 'util.ts'));
replace(path.join(folder, 'lib', 'index.ts'), { ClusterAdapterWithHeartbeat });
replace(path.join(folder, 'test', 'util.ts'), { ...util, sleep: () => wait(ON_THE_WAY) });
