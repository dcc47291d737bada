'use strict';

const { randomBytes } = require('node:crypto');
const dgram = require('node:dgram');
const { once } = require('node:events');
const { request } = require('../../helpers/http');

/** A torrent of its own: what others announced to a worker it knows alone. */
const torrent = () => ({ hash: randomBytes(20), peer: randomBytes(20) });

async function overHttp(port) {
  const { hash, peer } = torrent();
  const escape = (bytes) => [...bytes].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
  const query = `info_hash=${escape(hash)}&peer_id=${escape(peer)}&port=6881&uploaded=0&downloaded=0&left=0&compact=1`;
  const { status, body } = await request(port, { path: `/announce?${query}` });
  return [status, body.replace(/[^ -~]/g, '')];
}

/** Two datagrams, which any two workers may get: connect, then announce. */
async function overUdp(port) {
  const { hash, peer } = torrent();
  const socket = dgram.createSocket('udp4');
  const ask = async (...parts) => {
    socket.send(Buffer.concat(parts), port, '127.0.0.1');
    return (await once(socket, 'message', { signal: AbortSignal.timeout(10_000) }))[0];
  };
  const number = (value) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  const transaction = randomBytes(4);
  try {
    const connection = (await ask(number(0x417), number(0x27101980), number(0), transaction)).subarray(8, 16);
    const counts = Buffer.alloc(24);
    const rest = [number(0), number(0), randomBytes(4), number(50), Buffer.from([0x1a, 0xe1])];
    const answer = await ask(connection, number(1), transaction, hash, peer, counts, number(2), ...rest);
    return { action: answer.readUInt32BE(0), interval: answer.readUInt32BE(8), leechers: answer.readUInt32BE(12), seeders: answer.readUInt32BE(16) };
  } finally {
    socket.close();
  }
}

module.exports = {
  versions: { 'bittorrent-tracker': '11.2.3' },
  main: 'server.mjs',
  files: {
    'server.mjs': `
      import Server from 'bittorrent-tracker/server';
      const server = new Server({ udp: true, http: true, ws: true, stats: false });
      const at = process.env.HOST;
      server.listen(Number(process.env.PORT), { http: at, udp4: at });
      process.on('SIGTERM', () => server.close(() => {
        console.log('CLEANED');
        process.exit(0);
      }));`,
  },
  client: ({ port }) => ({ ask: async () => [await overUdp(port), await overHttp(port)], close: () => undefined }),
  says: /seeders\W+1.*complete/,
  hook: /CLEANED/,
};
