// @ts-check
'use strict';

// The handles that keep the event loop alive, as objects.
//
// Relies on: `process._getActiveHandles()`, whose result has the sockets and child processes of this process; the class
// name of a standard stream's `_handle`, which `process.getActiveResourcesInfo()` names with 'Wrap' behind it.
// Seen on: Node.js 20, 22, 24, 26.

const { ChildProcess } = require('node:child_process');
const { acceptorOf } = require('./socket');

/** @returns {any[]} */
function handles() {
  return /** @type {any} */ (process)._getActiveHandles();
}

/** The connections of servers for which `isOf` is true. @param {(server: any) => boolean} isOf @returns {any[]} */
function socketsOf(isOf) {
  return handles().filter((handle) => isOf(handle.server) || isOf(acceptorOf(handle)));
}

/** The running child processes. @returns {ChildProcess[]} */
function runningChildren() {
  return handles().filter((handle) => handle instanceof ChildProcess && handle.exitCode === null);
}

/** The types of active resources, without the standard streams, which never become inactive. */
function activeResources() {
  const kinds = process.getActiveResourcesInfo();
  for (const stream of /** @type {any[]} */ ([process.stdout, process.stderr])) {
    const at = kinds.indexOf(`${stream._handle?.constructor.name}Wrap`);
    if (at >= 0) kinds.splice(at, 1);
  }
  return kinds;
}

module.exports = { activeResources, runningChildren, socketsOf };
