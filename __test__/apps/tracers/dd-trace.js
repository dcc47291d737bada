'use strict';

module.exports = {
  node: 24,
  versions: { 'dd-trace': '6.21.0', '@msgpack/msgpack': '3.1.3' },
  files: {
    'server.js': `
      require('dd-trace').init();
      const http = require('node:http');
      http.createServer((_, response) => response.end('ok')).listen(process.env.PORT, process.env.HOST);`,
  },
  env: ({ services }) => ({
    DD_TRACE_AGENT_URL: `http://127.0.0.1:${services.receiver}`,
    DD_SERVICE: 'traced',
    DD_INSTRUMENTATION_TELEMETRY_ENABLED: 'false',
    DD_REMOTE_CONFIGURATION_ENABLED: 'false',
    DD_TRACE_STARTUP_LOGS: 'false',
  }),
  spans({ path, body }, require) {
    if (path !== '/v0.4/traces') return [];
    const traces = require('@msgpack/msgpack').decode(body, { useBigInt64: true });
    return traces.flat().map(({ name, meta }) => ({ name, meta })).filter(({ name }) => name === 'web.request');
  },
};
