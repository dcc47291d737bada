// @ts-check
'use strict';

// What HTTP connections have brought and taken, on the wire: with TLS the connection below it counts. The figures are
// the handle's own, so that they are looked at seldom: at a connection's end, and with a response once a second.

const { RECEIVED, SENT } = require('../metrics/cells');
const runtime = require('../runtime');
const symbols = require('../symbols');
const { protocolOf } = require('./protocols');

const { bytesCounted, bytesCountedAt } = symbols.socket;
const { carriesHttp } = symbols.server;

/** Between two looks at what a connection has carried, milliseconds. */
const COUNT_INTERVAL = 1000;

/** @param {Float64Array} cells */
function byteCounter(cells) {
  /** @param {any} connection of the operating system */
  function count(connection) {
    const { read, written } = runtime.bytesOf(connection);
    const counted = (connection[bytesCounted] ??= { received: 0, sent: 0 });
    if (!(read >= counted.received && written >= counted.sent)) return;
    cells[RECEIVED] += read - counted.received;
    cells[SENT] += written - counted.sent;
    counted.received = read;
    counted.sent = written;
  }

  return {
    /** After a response, once a second. @param {any} socket @param {number} at */
    afterResponse(socket, at) {
      if (at - socket[bytesCountedAt] < COUNT_INTERVAL) return;
      // Most connections of a single request are about to end.
      if (socket[bytesCountedAt] !== undefined) count(runtime.carrierOf(socket));
      socket[bytesCountedAt] = at;
    },

    /** A connection ends; one that no server took is not counted. @param {any} connection */
    end(connection) {
      const server = runtime.acceptorOf(connection);
      if (server && (server[carriesHttp] ??= protocolOf(server) !== '')) count(connection);
    },
  };
}

module.exports = { byteCounter };
