// @ts-check
'use strict';

// The last response of a connection leaves in one packet with the FIN. Node sends them as two, each of which
// wakes the client: for a short answer that was a third of all that the connection costs (docs/decisions/008).

const http = require('node:http');
const { addon } = require('../native');

/** Whether nothing comes after this response, as far as can be known before its headers are made. */
function isLast(/** @type {any} */ response) {
  return response._header === null ? !response.shouldKeepAlive : response._last;
}

/** A TCP connection that carries this response in the clear, by its descriptor; -1 for anything else. */
function descriptorOf(/** @type {any} */ response) {
  const { socket } = response;
  if (!socket || socket._httpMessage !== response || socket.encrypted || response.writableEnded) return -1;
  return socket._handle?.fd ?? -1;
}

function joinLastPackets() {
  const { end } = /** @type {any} */ (http.ServerResponse.prototype);

  /** @type {any} */ (http.ServerResponse.prototype).end = function (
    /** @type {any} */ chunk,
    /** @type {any} */ encoding,
    /** @type {any} */ callback,
  ) {
    if (!isLast(this)) return end.call(this, chunk, encoding, callback);
    const fd = descriptorOf(this);
    if (fd < 0 || !addon.holdLastBytes(fd)) return end.call(this, chunk, encoding, callback);
    const { socket } = this;
    const { _handle: handle } = socket;
    try {
      return end.call(this, chunk, encoding, callback);
    } finally {
      // The application may have destroyed the connection within `end`, and the number may be another's by now.
      if (socket._handle === handle) {
        const all = this._last && this.writableEnded && socket.writableLength === 0 && handle.writeQueueSize === 0;
        addon.sendLastBytes(fd, all);
      }
    }
  };
}

module.exports = { joinLastPackets };
