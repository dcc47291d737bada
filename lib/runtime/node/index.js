// @ts-check
'use strict';

// Node.js. Documented APIs are used anywhere; undocumented ones only in `internals/`, one per file.

const { memoryUsage, version, countsZeroLimit, socketName } = require('./facts');

module.exports = {
  ...require('./internals/active-handles'),
  ...require('./internals/cluster-messages'),
  ...require('./internals/datagram-socket'),
  ...require('./internals/http-connections'),
  ...require('./internals/http-response'),
  ...require('./internals/http2-session'),
  ...require('./internals/listen'),
  ...require('./internals/script'),
  ...require('./internals/server-connections'),
  ...require('./internals/server-handle'),
  ...require('./internals/signal-delivery'),
  ...require('./internals/socket'),
  ...require('./internals/stream-writes'),
  ...require('./internals/ticket-keys'),
  ...require('./internals/timers'),
  ...require('./internals/web-socket'),
  countsZeroLimit,
  memoryUsage,
  socketName,
  version,
  /** @type {string | null} */
  withoutWorkers: null,
  /** @type {string | null} */
  unsupported: null,
};
