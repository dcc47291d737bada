// @ts-check
'use strict';

// The WebSocket of an upgraded connection.
//
// Relies on: the symbol 'websocket' that the package ws sets on the socket (Socket.IO uses ws).
// Seen on: ws 7 and 8, Node.js 20, 22, 24, 26.

/** @param {any} socket @returns {{ close(code: number, reason: string): void } | undefined} */
function webSocketOf(socket) {
  const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'websocket');
  const found = symbol === undefined ? undefined : socket[symbol];
  return typeof found?.close === 'function' ? found : undefined;
}

/** Node upgrades no connections itself. @param {any} _server @returns {any[]} */
function ownWebSocketsOf(_server) {
  return [];
}

module.exports = { ownWebSocketsOf, webSocketOf };
