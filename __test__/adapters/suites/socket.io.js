'use strict';

// The tests of Socket.IO's repository for adapters between processes, with drover/socket.io instead of the suite's, which
// sends over an EventEmitter.

const path = require('node:path');

const UNAWAITED = 'expects what another server does at once: no adapter between processes can';

module.exports = {
  runner: 'mocha',
  packages: { 'expect.js': '0.3.1', mocha: '10.8.2', pirates: '4.0.7', 'socket.io': '4.8.4', 'socket.io-client': '4.8.4', sucrase: '3.35.1' },
  args: ['--require', 'sucrase/register/ts', '--require', path.join(__dirname, '..', 'socket.io-preload.js'), 'packages/socket.io-adapter/test/cluster-adapter.ts'],
  leftOut: {
    'cluster adapter socketsJoin makes the given socket instance join the specified room': UNAWAITED,
    'cluster adapter socketsLeave makes the given socket instance leave the specified room': UNAWAITED,
  },
};
