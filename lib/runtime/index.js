// @ts-check
'use strict';

// Everything that depends on the runtime, behind one interface, chosen once. No code outside this folder checks which
// runtime it is, or uses undocumented parts of it. A runtime's folder uses no other code of drover.
//
// - listening: where `listen` and `bind` ask for a socket, and the handle of a server
// - connections: adopting one from a descriptor, the number per server, bytes carried, whether one is idle
// - requests: when a response begins and ends, header lines, Node's list of a server's connections
// - other protocols: HTTP/2 sessions, WebSockets, TLS tickets
// - memory: the order of loads from memory that another process changes; texts of bytes
// - the process: its script, its streams, its signals, its memory, what keeps it alive
// - the runtime itself: its version, why the addon cannot be loaded (`unsupported`), whether it accepts
//   connections by itself (`acceptsItself`)

/**
 * What only a runtime with `acceptsItself` has: the requests and connections that the core does not see, and a server of its
 * own for applications with `fetch`.
 *
 * @typedef {'acceptsAtVirtualListener' | 'adoptDatagrams' | 'fetchServer' | 'hasRequests' | 'idleTimeoutOf' | 'onFetch' | 'onHttpConnection' | 'runFetches' | 'setRequestCount'} OfVirtualListeners
 * @typedef {typeof import('./node') & Pick<typeof import('./bun'), OfVirtualListeners>} Runtime
 */

/** @type {Runtime} */
module.exports = /** @type {any} */ (process.versions.bun === undefined ? require('./node') : require('./bun'));
