// @ts-check
'use strict';

// The state of a worker's HTTP/1 connections: when the current response began, and since when the connection is idle.
// It is stored on the socket, which carries one response at a time, because an extra property on each response costs
// more than all other per-request work.

const { started } = require('../symbols').socket;

/** Whether a request has arrived on this connection. @param {any} socket */
function hasAsked(socket) {
  return socket[started] !== undefined;
}

/** Whether a request of this connection is being answered. @param {any} socket */
function isAnswering(socket) {
  return socket[started] > 0;
}

/** Since when a connection between two requests has been idle, milliseconds. @param {any} socket */
function silentSince(socket) {
  return -socket[started];
}

/** Marks the connection as idle. @param {any} socket @param {number} at milliseconds */
function fellSilent(socket, at) {
  socket[started] = -at;
}

module.exports = { fellSilent, hasAsked, isAnswering, silentSince };
