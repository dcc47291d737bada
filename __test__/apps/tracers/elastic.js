'use strict';

module.exports = {
  versions: { 'elastic-apm-node': '4.18.0' },
  files: {
    'server.js': `
      require('elastic-apm-node').start();
      const http = require('node:http');
      http.createServer((_, response) => response.end('ok')).listen(process.env.PORT, process.env.HOST);`,
  },
  env: ({ services }) => ({
    ELASTIC_APM_SERVER_URL: `http://127.0.0.1:${services.receiver}`,
    ELASTIC_APM_SERVICE_NAME: 'traced',
    ELASTIC_APM_CENTRAL_CONFIG: 'false',
    ELASTIC_APM_METRICS_INTERVAL: '0s',
    ELASTIC_APM_LOG_LEVEL: 'error',
  }),
  spans({ path, body }) {
    if (path !== '/intake/v2/events') return [];
    const lines = body.toString().split('\n').filter((line) => line.startsWith('{"transaction"'));
    return lines.map((line) => JSON.parse(line).transaction.context.request.url);
  },
};
