// @ts-check
'use strict';

// Node.js. Documented APIs are used anywhere; undocumented ones only in `internals/`, one per file.

const { isEncrypted, isHttp1, isServer, serverClasses } = require('./server-kinds');
const { emitMessage, followListeners } = require('./process-events');
const { openSocket, takesSockets } = require('./sockets');
const { followStreams } = require('./standard-streams');
const { collectGarbage, givenScript, memoryUsage, version, countsZeroLimit, socketName } = require('./facts');

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
  ...require('./internals/text-slices'),
  ...require('./internals/ticket-keys'),
  ...require('./internals/timers'),
  ...require('./internals/web-socket'),
  ...require('./ordered-loads'),
  ...require('./uncaught-errors'),
  collectGarbage,
  countsZeroLimit,
  emitMessage,
  /** Calls back for the garbage collections that the core does not see: it sees all of V8's. @param {(isMajor: boolean, milliseconds: number) => void} _collected */
  followCollections(_collected) {},
  /** Follows the children that are started from now on, if `runningChildren` needs that. */
  followChildren() {},
  followListeners,
  followStreams,
  givenScript,
  isEncrypted,
  isHttp1,
  isServer,
  memoryUsage,
  openSocket,
  serverClasses,
  socketName,
  takesSockets,
  version,
  /** The runtime accepts connections by itself, at the virtual listeners that the core gives it. */
  acceptsItself: false,
  /** Whether `activeResources` knows what keeps the event loop alive. */
  seesResources: true,
  /** Whether the runtime tells (async_hooks) when timers, requests and promises that a part of the program has started are done. */
  seesWork: true,
  /** @type {string | null} */
  unsupported: null,
};
