// @ts-check
'use strict';

// What is known of a worker's HTTP/1 connections: when a socket's response began, and since when it is silent. It stands
// on the socket, which carries one response at a time, because a property more on each response costs more than all else
// that is done for it.

const { started } = require('../symbols').socket;

/** Whether a request has come on this connection. @param {any} socket */
function hasAsked(socket) {
  return socket[started] !== undefined;
}

/** Whether a request of this connection is being answered. @param {any} socket */
function isAnswering(socket) {
  return socket[started] > 0;
}

/** Since when a connection between two requests has been silent, milliseconds. @param {any} socket */
function silentSince(socket) {
  return -socket[started];
}

/** Its silence begins. @param {any} socket @param {number} at milliseconds */
function fellSilent(socket, at) {
  socket[started] = -at;
}

module.exports = { fellSilent, hasAsked, isAnswering, silentSince };
