// @ts-check
'use strict';

// What depends on the runtime, behind one interface, chosen once. Nothing outside this folder asks which runtime it is, or
// reaches for what a runtime does not document. A runtime's folder uses nothing else of drover.
//
// - listening: where `listen` and `bind` ask for a socket, and the handle of a server
// - connections: adopting one from a descriptor, how many a server has, what one has carried, whether it is at rest
// - requests: when a response begins and ends, header lines, Node's list of a server's connections
// - other protocols: HTTP/2 sessions, WebSockets, TLS tickets
// - the process: its script, its streams, its signals, its memory, what keeps it alive

/** @typedef {typeof import('./node')} Runtime */

/** @type {Runtime} */
module.exports = require('./node');
