'use strict';

module.exports = {
  node: 24,
  versions: { '@sentry/node': '11.12.0' },
  files: {
    'server.js': `
      // It drops what is beyond 64 requests under way to the receiver, as one process does under this load on a busy machine.
      const transportOptions = { bufferSize: 10_000 };
      require('@sentry/node').init({ dsn: process.env.DSN, tracesSampleRate: 1, transportOptions });
      const http = require('node:http');
      http.createServer((_, response) => response.end('ok')).listen(process.env.PORT, process.env.HOST);`,
  },
  env: ({ services }) => ({ DSN: `http://key@127.0.0.1:${services.receiver}/1` }),
  spans({ body }) {
    // An envelope: a header, then for each item a header and what it is.
    const lines = body.toString().split('\n').slice(1);
    const spans = [];
    for (let at = 0; at + 1 < lines.length; at += 2) {
      const { type } = JSON.parse(lines[at]);
      if (type === 'transaction') spans.push(JSON.parse(lines[at + 1]));
      else if (type === 'span') spans.push(...JSON.parse(lines[at + 1]).items.filter(({ is_segment: isWhole }) => isWhole));
    }
    return spans;
  },
};
