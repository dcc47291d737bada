// @ts-check
'use strict';

// Bun. What works as in Node.js is Node's.

const node = require('../node');
const { addHeaderLines } = require('./internals/header-lines');
const serveHandlers = require('./internals/serve-handlers');
const { whatBunLacks } = require('./lacks');

/** Earlier versions abort the process when the addon calls functions of libuv. */
const OLDEST = [1, 4, 4];

/** @param {string} version @returns {boolean} */
function isNewEnough(version) {
  const numbers = version.split(/[.-]/, 3).map(Number);
  const differs = OLDEST.findIndex((number, at) => numbers[at] !== number);
  return differs < 0 || numbers[differs] > OLDEST[differs];
}

const own = String(process.versions.bun);

module.exports = {
  ...node,
  ...whatBunLacks,
  ...require('./internals/child-processes'),
  ...require('./internals/collections'),
  ...require('./internals/datagram-socket'),
  ...require('./internals/fetch-server'),
  ...require('./internals/http-response'),
  ...require('./internals/http-connections'),
  ...require('./internals/http2-session'),
  ...require('./internals/listen'),
  ...require('./internals/ordered-loads'),
  ...require('./internals/process-events'),
  ...require('./internals/script'),
  ...serveHandlers,
  ...require('./internals/serve-web-sockets'),
  ...require('./internals/server-kinds'),
  ...require('./internals/server-sockets'),
  ...require('./internals/signal-delivery'),
  ...require('./internals/standalone'),
  ...require('./internals/trial'),
  ...require('./internals/sockets'),
  ...require('./internals/standard-streams'),
  ...require('./internals/stream-writes'),
  ...require('./internals/uncaught-errors'),
  /** Adds headers to each response. @param {(response: any, header: string) => string} linesOf header lines; '' for none */
  addHeaderLines(linesOf) {
    addHeaderLines(linesOf);
    serveHandlers.addFetchHeaderLines(linesOf);
  },
  version: null,
  acceptsItself: true,
  /** Why the addon must not be loaded; null if it may. */
  unsupported: isNewEnough(own) ? null : `drover needs Bun ${OLDEST.join('.')} or later, this is ${own}`,
};
