// @ts-check
'use strict';

// `drover/socket.io`: an adapter of Socket.IO 4 between the workers of a cluster.

const { DroverAdapter } = require('./adapter');

/**
 * @param {any} app of drover
 * @param {any} [options] of the heartbeats: see `types/socket.io.d.ts`
 */
function createAdapter(app, options = {}) {
  // Called with `new`.
  return function DroverAdapterOf(/** @type {any} */ nsp) {
    return new DroverAdapter(nsp, app, options);
  };
}

module.exports = { DroverAdapter, createAdapter };
