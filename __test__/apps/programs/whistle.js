'use strict';

// As a module of the user's program: its command line (`w2 run`) serves in a child process.
module.exports = {
  versions: { whistle: '2.10.10' },
  needs: ['echo'],
  files: {
    'server.js': `
      require('whistle')({ port: process.env.PORT, host: process.env.HOST, baseDir: __dirname + '/base', mode: 'prod' });`,
  },
  ask: async ({ get, post, services }) => {
    const target = `http://127.0.0.1:${services.echo.port}`;
    return [(await get(`${target}/a?b=c`)).body, (await post(`${target}/`, 'body')).body, (await get('/')).status];
  },
  // Without its own cluster it handles no signal and says nothing at its end: there is no hook.
  says: /GET \/a\?b=c.*POST \/.*body/,
};
