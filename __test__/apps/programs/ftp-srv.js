'use strict';

const { Readable, Writable } = require('node:stream');
module.exports = {
  versions: { 'ftp-srv': '4.6.3', 'basic-ftp': '6.2.6' },
  files: {
    'files/hello.txt': 'hello you\n',
    'server.js': `
      const { FtpSrv } = require('ftp-srv');
      const path = require('node:path');
      const server = new FtpSrv({ url: 'ftp://' + process.env.HOST + ':' + process.env.PORT, pasv_url: process.env.HOST, anonymous: true });
      server.on('login', (_data, resolve) => resolve({ root: path.join(__dirname, 'files') }));
      server.listen();
      process.on('SIGTERM', () => server.close().then(() => console.log('CLEANED')));`,
  },
  clients: 4,
  client: async ({ require, port }) => {
    const { Client } = require('basic-ftp');
    const client = new Client(10_000);
    await client.access({ host: '127.0.0.1', port });
    const ask = async () => {
      const names = (await client.list()).map(({ name }) => name);
      let text = '';
      const into = new Writable({
        write(piece, _encoding, done) {
          text += piece;
          done();
        },
      });
      await client.downloadTo(into, 'hello.txt');
      await client.uploadFrom(Readable.from(['again\n']), 'again.txt');
      return { names: names.filter((name) => name === 'hello.txt'), text };
    };
    return { ask, close: () => client.close() };
  },
  // Its close() destroys the connections, whatever has been read of them.
  away: /FIN packet|ECONNRESET \(control socket\)/,
  // What it writes when its end comes in the middle of a transfer; one process is stopped at other moments. And, rarely,
  // in one process too: a client sends QUIT and closes with the 221 unread, which resets the connection (ECONNRESET).
  mutters: /Socket not writable|of 'server\.address\(|^Client error$/,
  says: /hello.txt.*hello you/,
  hook: /CLEANED/,
};
