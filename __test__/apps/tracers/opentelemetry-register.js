'use strict';

// Without a line in the program: a module that every process requires, the primary too, with a handler of SIGTERM that
// sends what is left and ends nothing.

const { spans } = require('./opentelemetry');

module.exports = {
  node: 24,
  versions: { '@opentelemetry/auto-instrumentations-node': '0.82.0', '@opentelemetry/api': '1.10.0' },
  files: {
    'server.js': `
      const http = require('node:http');
      http.createServer((_, response) => response.end('ok')).listen(process.env.PORT, process.env.HOST);`,
  },
  env: ({ require, services }) => ({
    NODE_OPTIONS: `--require ${require.resolve('@opentelemetry/auto-instrumentations-node/register')}`,
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${services.receiver}`,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    OTEL_METRICS_EXPORTER: 'none',
    OTEL_LOGS_EXPORTER: 'none',
    OTEL_NODE_RESOURCE_DETECTORS: 'none',
    OTEL_NODE_ENABLED_INSTRUMENTATIONS: 'http',
  }),
  spans,
};
