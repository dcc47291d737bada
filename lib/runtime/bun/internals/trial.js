// @ts-check
'use strict';

// Tries whether Bun accepts at a virtual listener.
//
// Relies on: `Bun.listen` binds its socket before it returns, and `open` is called with each connection that it accepts.
// Seen on: Bun 1.4.4, 1.4.5.

const { listen } = /** @type {any} */ (globalThis).Bun;

/** Iterations of the event loop within which a waiting connection is accepted. */
const MAX_TURNS = 100;

/**
 * Resolves to what Bun has not done; null if it accepts.
 *
 * @param {{ bind(): void, hasBound(): boolean, end(): void }} virtualListener with one connection
 * @returns {Promise<string | null>}
 */
function acceptsAtVirtualListener({ bind, hasBound, end }) {
  bind();
  return new Promise((resolve) => {
    let isOver = false;
    /** @param {string | null} lacks */
    const finish = (lacks) => {
      if (isOver) return;
      isOver = true;
      server.stop(true);
      end();
      resolve(lacks);
    };
    const server = listen({ hostname: '127.0.0.1', port: 0, socket: { open: () => finish(null), data() {} } });
    server.unref();
    if (!hasBound()) return finish('it has bound no socket');
    let turns = 0;
    const look = () => {
      if (isOver) return;
      turns += 1;
      if (turns > MAX_TURNS) finish('it has accepted no connection');
      else setImmediate(look);
    };
    look();
  });
}

module.exports = { acceptsAtVirtualListener };
