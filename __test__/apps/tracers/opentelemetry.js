'use strict';

// As its documentation starts the SDK: a module that is required before the program, with a handler of SIGTERM.

module.exports = {
  node: 24,
  versions: {
    '@opentelemetry/sdk-node': '0.301.0',
    '@opentelemetry/exporter-trace-otlp-http': '0.301.0',
    '@opentelemetry/instrumentation-http': '0.301.0',
  },
  files: {
    'server.js': `
      const { NodeSDK } = require('@opentelemetry/sdk-node');
      const { OTLPTraceExporter } = require('@opentelemetry/exporter-trace-otlp-http');
      const { HttpInstrumentation } = require('@opentelemetry/instrumentation-http');
      const sdk = new NodeSDK({ traceExporter: new OTLPTraceExporter(), instrumentations: [new HttpInstrumentation()] });
      sdk.start();
      process.on('SIGTERM', () => sdk.shutdown().finally(() => process.exit(0)));
      const http = require('node:http');
      http.createServer((_, response) => response.end('ok')).listen(process.env.PORT, process.env.HOST);`,
  },
  env: ({ services }) => ({
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${services.receiver}`,
    OTEL_METRICS_EXPORTER: 'none',
    OTEL_LOGS_EXPORTER: 'none',
  }),
  spans({ path, body }) {
    if (path !== '/v1/traces') return [];
    const { resourceSpans } = JSON.parse(body);
    const spans = resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans));
    // What the server has done; the exporter's own requests are none of it.
    return spans.filter(({ kind }) => kind === 2 || kind === 'SPAN_KIND_SERVER');
  },
};
