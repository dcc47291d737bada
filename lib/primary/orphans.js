// @ts-check
'use strict';

// As PID 1 of a container the primary becomes the parent of every orphan of the container and has to reap it. Node.js
// reaps only its own children, which must be left to it.

/** Interval between two checks, milliseconds. */
const LOOK_INTERVAL = 1000;

/**
 * Reaps orphans until the returned function is called.
 *
 * @param {{ reapOrphans(): void }} core
 */
function reapOrphans(core) {
  /** @type {NodeJS.Timeout} */
  let timer;
  const look = () => {
    core.reapOrphans();
    // Runs in the check phase: the loop has polled since the previous check, so Node.js has reaped its own children.
    setImmediate(wait).unref();
  };
  const wait = () => {
    if (!over) timer = setTimeout(look, LOOK_INTERVAL).unref();
  };
  let over = false;
  wait();
  return () => {
    over = true;
    clearTimeout(timer);
  };
}

module.exports = { reapOrphans };
