'use strict';

module.exports = {
  versions: { 'http-proxy': '1.18.1', ws: '8.23.0' },
  needs: ['echo'],
  files: {
    'server.js': `
      const proxy = require('http-proxy').createProxyServer({ target: 'http://127.0.0.1:' + process.env.TARGET, ws: true });
      const server = proxy.listen(Number(process.env.PORT), process.env.HOST);
      process.on('SIGTERM', () => proxy.close(() => console.log('CLEANED')));`,
  },
  env: ({ services }) => ({ TARGET: String(services.echo.port) }),
  ask: async ({ get, post }) => [await get('/a?b=c'), await post('/', 'body')],
  says: /GET \/a\?b=c.*POST \/.*body/,
  hook: /CLEANED/,
};
