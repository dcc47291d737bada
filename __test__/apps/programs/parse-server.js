'use strict';

let number = 0;

module.exports = {
  versions: { 'parse-server': '9.10.0' },
  node: 24,
  needs: ['postgres'],
  main: 'server.mjs',
  files: {
    'server.mjs': `
      import { ParseServer } from 'parse-server';
      await ParseServer.startApp({
        appId: 'app',
        masterKey: 'master',
        databaseURI: process.env.DATABASE,
        host: process.env.HOST,
        port: Number(process.env.PORT),
        serverURL: 'http://127.0.0.1:' + process.env.PORT + '/parse',
        allowClientClassCreation: true,
        silent: true,
        serverCloseComplete: () => console.log('CLEANED'),
      });`,
  },
  env: ({ services }) => ({ DATABASE: services.postgres.url }),
  ask: async ({ get, post, send }) => {
    const headers = { 'X-Parse-Application-Id': 'app' };
    const name = `thing ${process.pid} ${(number += 1)}`;
    const { status, body } = await post('/parse/classes/Thing', { name, size: 3 }, headers);
    const where = encodeURIComponent(JSON.stringify({ name }));
    const { results } = JSON.parse((await get(`/parse/classes/Thing?where=${where}`, headers)).body);
    const gone = await send(`/parse/classes/Thing/${JSON.parse(body).objectId}`, { method: 'DELETE', headers });
    return [status, results.map(({ size }) => ({ size })), gone.status, (await get('/parse/health')).body, (await get('/parse/classes/Thing')).status];
  },
  says: /201.*size\W+3.*200.*ok.*40/,
  // It has asked itself when it started, over a connection that it keeps: a stop right after that waits a second for it.
  hook: /CLEANED/,
};
