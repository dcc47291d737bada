'use strict';

const dgram = require('node:dgram');
const { once } = require('node:events');
const { tcp } = require('../../helpers/http');

module.exports = {
  versions: { statsd: '0.9.0' },
  main: '../../node_modules/statsd/stats.js',
  files: {
    'config.js': "{ port: Number(process.env.PORT), address: process.env.HOST, mgmt_port: Number(process.env.SECOND_PORT), mgmt_address: process.env.HOST, backends: ['./backends/console'], flushInterval: 600000 }",
  },
  args: () => ['config.js'],
  client: async ({ port, secondPort }) => {
    const socket = dgram.createSocket('udp4');
    const admin = await tcp(secondPort);
    const gone = once(admin.socket, 'close').then(() => Promise.reject(new Error('the server went')));
    gone.catch(() => undefined);
    const ask = async () => {
      await new Promise((resolve, reject) => socket.send('asked:1|c', port, '127.0.0.1', (error) => (error ? reject(error) : resolve())));
      admin.write('health\n');
      return Promise.race([admin.line(), gone]);
    };
    const close = () => {
      socket.close();
      admin.close();
    };
    return { ask, close };
  },
  // It exits, whatever has been read.
  away: /ECONNRESET|the server went/,
  says: /health: up/,
  hook: /counters/,
};
