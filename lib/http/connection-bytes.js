// @ts-check
'use strict';

// Bytes received and sent by HTTP connections, on the wire: with TLS those of the TCP connection. The handle counts
// them, so they are read seldom: when a connection ends, and with a response once a second.

const { RECEIVED, SENT } = require('../metrics/cells');
const runtime = require('../runtime');
const symbols = require('../symbols');
const { protocolOf } = require('./protocols');

const { bytesCounted, bytesCountedAt } = symbols.socket;
const { carriesHttp } = symbols.server;

/** Interval between two readings of a connection's bytes, milliseconds. */
const COUNT_INTERVAL = 1000;

/** @param {Float64Array} cells */
function byteCounter(cells) {
  /** @param {any} connection the TCP connection */
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
      // Most connections with a single request are about to end.
      if (socket[bytesCountedAt] !== undefined) count(runtime.carrierOf(socket));
      socket[bytesCountedAt] = at;
    },

    /** Counts a connection that ends, unless no server has taken it. @param {any} connection */
    end(connection) {
      const server = runtime.acceptorOf(connection);
      if (server && (server[carriesHttp] ??= protocolOf(server) !== '')) count(connection);
    },
  };
}

module.exports = { byteCounter };
