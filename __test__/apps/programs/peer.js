'use strict';

module.exports = {
  versions: { peer: '1.0.2' },
  bin: 'peerjs',
  args: ({ port, host }) => ['--host', host, '--port', String(port), '--path', '/app'],
  ask: async ({ get }) => {
    const { status, body } = await get('/app/peerjs/id');
    return [await get('/app'), { status, length: body.length }];
  },
  says: /PeerJS Server.*36/,
  hook: /Http server closed/,
};
