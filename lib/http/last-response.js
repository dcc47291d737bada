// @ts-check
'use strict';

// Sends the last response of a connection in one packet with the FIN. Node sends two packets, each of which wakes the
// client: for a short response that is a third of the total cost of the connection (docs/decisions/008).

const http = require('node:http');
const { addon } = require('../native');
const runtime = require('../runtime');

/** The file descriptor of the TCP connection of this response; -1 with TLS and for other sockets. */
function plainDescriptorOf(/** @type {any} */ response) {
  const { socket } = response;
  if (!socket || runtime.responseOf(socket) !== response || socket.encrypted || response.writableEnded) return -1;
  return runtime.descriptorOf(socket);
}

function joinLastPackets() {
  const { end } = /** @type {any} */ (http.ServerResponse.prototype);

  /** @type {any} */ (http.ServerResponse.prototype).end = function (
    /** @type {any} */ chunk,
    /** @type {any} */ encoding,
    /** @type {any} */ callback,
  ) {
    if (!runtime.isLast(this)) return end.call(this, chunk, encoding, callback);
    const fd = plainDescriptorOf(this);
    if (fd < 0 || !addon.holdLastBytes(fd)) return end.call(this, chunk, encoding, callback);
    const { socket } = this;
    const connection = runtime.connectionOf(socket);
    try {
      return end.call(this, chunk, encoding, callback);
    } finally {
      // The application may have destroyed the connection within `end`, and the descriptor may be reused by now.
      if (runtime.connectionOf(socket) === connection) {
        addon.sendLastBytes(fd, runtime.isLast(this) && this.writableEnded && runtime.isSent(socket));
      }
    }
  };
}

module.exports = { joinLastPackets };
