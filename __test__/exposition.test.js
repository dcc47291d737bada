'use strict';

// /metrics, read by the parsers that Prometheus' own Python client brings: the text format and OpenMetrics.

const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const { test } = require('node:test');
const { freePort, request } = require('./helpers/http');
const { monitoringPort } = require('./helpers/monitoring');
const { failureCluster } = require('./helpers/program');
const { python } = require('./helpers/python');

/** Prints [name, type, [[sample, labels, value]]] of every family; a complaint of the parser ends it with an error. */
const PARSE = `
import json, sys
if sys.argv[1] == 'openmetrics':
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
else:
    from prometheus_client.parser import text_string_to_metric_families
families = text_string_to_metric_families(sys.stdin.read())
print(json.dumps([[f.name, f.type, f.unit, f.documentation, [[s.name, s.labels, s.value] for s in f.samples]] for f in families]))
`;

test("Prometheus' own parsers read /metrics in both formats without a complaint", async (t) => {
  const interpreter = await python(t, 'prometheus_client==0.26.0');
  if (interpreter === null) return;
  const port = await freePort();
  const cluster = failureCluster(t, { port, config: { monitoring: { port: 0 } } });
  const api = await monitoringPort(cluster);
  await cluster.until(/the cluster is ready/);
  for (let at = 0; at < 10; at += 1) await request(port);
  // The workers have been sampled.
  while (!(await request(api, { path: '/metrics' })).body.includes('process_open_fds{'));

  const parsed = {};
  for (const [format, accept] of [['text', 'text/plain'], ['openmetrics', 'application/openmetrics-text']]) {
    const { body } = await request(api, { path: '/metrics', headers: { accept } });
    const output = execFileSync(interpreter, ['-c', PARSE, format], { input: body, encoding: 'utf8' });
    parsed[format] = new Map(JSON.parse(output).map(([name, ...rest]) => [name, rest]));
  }
  const { text, openmetrics } = parsed;
  assert.ok(openmetrics.size > 20, `${openmetrics.size} families`);
  assert.deepEqual([...text.keys()], [...openmetrics.keys()]);
  for (const [name, [type, , help, samples]] of openmetrics) {
    assert.notEqual(type, 'unknown', name);
    assert.ok(help.length > 5 && samples.length > 0, name);
  }
  const [type, unit, , samples] = openmetrics.get('http_request_duration_seconds');
  assert.deepEqual([type, unit], ['histogram', 'seconds']);
  assert.equal(samples.find(([name]) => name.endsWith('_count'))[2], 10);
  const requests = openmetrics.get('http_requests')[3];
  assert.equal(requests.reduce((sum, [, , value]) => sum + value, 0), 10);
});
