// @ts-check
'use strict';

// As PID 1, a container's first process, the primary is given every orphan of the container and has to reap
// it. Node.js reaps its own children alone, and nobody may take those from it.

/** Between two looks, milliseconds. */
const LOOK_INTERVAL = 1000;

/**
 * Reaps orphans until the function that it returns is called.
 *
 * @param {{ reapOrphans(): void }} core
 */
function reapOrphans(core) {
  /** @type {NodeJS.Timeout} */
  let timer;
  const look = () => {
    core.reapOrphans();
    // From the check phase: between two looks the loop has polled, and so Node.js has reaped what is its own.
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
