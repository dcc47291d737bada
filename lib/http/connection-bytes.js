// @ts-check
'use strict';

// What HTTP connections have brought and taken, on the wire: with TLS the connection below it counts. The figures are
// the handle's own, so that they are looked at seldom: at a connection's end, and with a response once a second.

const { RECEIVED, SENT } = require('../metrics/cells');
const { protocolOf } = require('./protocols');

/** Between two looks at what a connection has carried, milliseconds. */
const BYTES_EVERY = 1000;

const looked = Symbol('drover.bytesLooked');
const seen = Symbol('drover.bytesSeen');
const carries = Symbol('drover.carriesHttp');

/** @param {Float64Array} cells */
function bytesOf(cells) {
  /** @param {any} connection of the operating system */
  function count(connection) {
    // One that is over has kept its handle's figures; what it was still to send is not in them. A connection that is no
    // socket has none, and one whose handle went to another process no longer.
    const { _handle: handle } = connection;
    const bytesRead = handle ? handle.bytesRead : connection.bytesRead;
    const bytesWritten = handle ? handle.bytesWritten : connection._bytesDispatched;
    const so = (connection[seen] ??= { received: 0, sent: 0 });
    if (!(bytesRead >= so.received && bytesWritten >= so.sent)) return;
    cells[RECEIVED] += bytesRead - so.received;
    cells[SENT] += bytesWritten - so.sent;
    so.received = bytesRead;
    so.sent = bytesWritten;
  }

  return {
    /** After a response, once a second. @param {any} socket @param {number} at */
    look(socket, at) {
      if (at - socket[looked] < BYTES_EVERY) return;
      // Most connections of a single request are about to end.
      if (socket[looked] !== undefined) count(socket._parent ?? socket);
      socket[looked] = at;
    },

    /** A connection of a server's ends. @param {any} connection */
    end(connection) {
      const server = connection._server;
      if ((server[carries] ??= protocolOf(server) !== '')) count(connection);
    },
  };
}

module.exports = { bytesOf };
