'use strict';

// A TLS client that reconnects: whether its session was resumed, and which process served it.

const { once } = require('node:events');
const tls = require('node:tls');

/** Milliseconds without data after which a connection counts as hung. */
const SILENCE = 60_000;

const ASKING = { https: 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n', tls: 'who?\n' };

/**
 * Opens one connection, with the session of an earlier one. Resolves to { resumed, session, pid, ticket, version }: the
 * pid of the process that answered (null over HTTP/2, which this client does not speak) and the session for the next
 * connection.
 */
async function visit(port, { kind = 'https', version, session, servername }) {
  const socket = tls.connect({
    host: '127.0.0.1',
    port,
    session,
    servername,
    minVersion: version,
    maxVersion: version,
    rejectUnauthorized: false,
    ALPNProtocols: kind === 'http2' ? ['h2'] : undefined,
  });
  socket.setTimeout(SILENCE, () => socket.destroy(new Error(`TLS: silent for ${SILENCE} ms`)));
  const kept = { session: undefined };
  const given = new Promise((resolve) => {
    socket.on('session', (next) => resolve((kept.session = next)));
    socket.once('close', resolve);
  });
  try {
    await once(socket, 'secureConnect');
    const resumed = socket.isSessionReused();
    let read = '';
    socket.setEncoding('latin1').on('data', (text) => (read += text));
    if (kind === 'http2') {
      await once(socket, 'data');
    } else {
      socket.write(ASKING[kind]);
      await once(socket, 'end');
    }
    // A resumed session stays valid; the server may send no new ticket.
    if (!resumed) await given;
    const pid = read.match(/pid (\d+)/)?.[1];
    const next = kept.session ?? session;
    return { resumed, session: next, pid: pid && Number(pid), ticket: socket.getTLSTicket(), version: socket.getProtocol() };
  } finally {
    socket.destroy();
  }
}

module.exports = { visit };
