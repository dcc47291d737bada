'use strict';

const { once } = require('node:events');

let key;

module.exports = {
  versions: { ssh2: '1.17.0' },
  files: {
    'server.js': `
      const { Server } = require('ssh2');
      const clients = new Set();
      const server = new Server({ hostKeys: [process.env.HOST_KEY] }, (client) => {
        clients.add(client);
        client.on('close', () => clients.delete(client));
        client.on('error', () => undefined);
        client.on('authentication', (attempt) => (attempt.password === 'secret' ? attempt.accept() : attempt.reject(['password'])));
        client.on('ready', () => client.on('session', (accept) => accept().on('exec', (take, _reject, { command }) => {
          const stream = take();
          stream.write('ran ' + command);
          stream.exit(0);
          stream.end();
        })));
      });
      server.listen(Number(process.env.PORT), process.env.HOST);
      process.on('SIGTERM', () => {
        server.close(() => console.log('CLEANED'));
        for (const client of clients) client.end();
      });`,
  },
  env: ({ require }) => ({ HOST_KEY: (key ??= require('ssh2').utils.generateKeyPairSync('ed25519')).private }),
  client: async ({ require, port }) => {
    const { Client } = require('ssh2');
    const client = new Client();
    client.connect({ host: '127.0.0.1', port, username: 'you', password: 'secret' });
    client.on('error', () => undefined);
    let isOpen = true;
    const away = new Promise((_resolve, reject) =>
      client.once('close', () => {
        isOpen = false;
        reject(new Error('the server went'));
      }),
    );
    await Promise.race([away, once(client, 'ready')]);
    const run = () =>
      new Promise((resolve, reject) => {
        client.exec('ls', (error, stream) => {
          if (error) return reject(error);
          let output = '';
          stream.on('data', (piece) => (output += piece));
          stream.on('close', (code) => resolve({ output, code }));
        });
      });
    const close = async () => {
      if (!isOpen) return;
      client.end();
      await once(client, 'close');
    };
    // What is asked between the server's last packet and 'close' is answered by ssh2 itself.
    const ask = () => run().catch((error) => (error.message === 'Not connected' ? away : Promise.reject(error)));
    return { ask: () => Promise.race([away, ask()]), close };
  },
  // It ends the connections of its clients, as one process does.
  away: /the server went/,
  says: /ran ls.*0/,
  hook: /CLEANED/,
};
