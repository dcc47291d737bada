'use strict';

// The monitoring API keeps to its own description: schemathesis makes requests out of /openapi.json, good ones and bad
// ones, and compares every answer with it. Only those that change nothing: a valid size is up to a thousand workers. What
// POST answers is in monitoring.test.js; the stream of events, which has no end, is in troubles.test.js.

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const path = require('node:path');
const { test } = require('node:test');
const { promisify } = require('node:util');
const { freePort } = require('./helpers/http');
const { everyday, folder } = require('./helpers/program');
const { python } = require('./helpers/python');

const CHECKS = ['not_a_server_error', 'status_code_conformance', 'content_type_conformance', 'response_schema_conformance'];

test('no answer of the monitoring API is one that its OpenAPI document does not know', async (t) => {
  const interpreter = await python(t, 'schemathesis==4.32.5');
  if (interpreter === null) return;
  const cluster = everyday(t, { port: await freePort(), config: { monitoring: { port: 0 } } });
  const [, api] = await cluster.until(/Monitoring API on (http:\/\/127\.0\.0\.1:\d+)/);
  await cluster.until(/the cluster is ready/);
  const { stdout } = await promisify(execFile)(
    path.join(path.dirname(interpreter), 'st'),
    ['run', `${api}/openapi.json`, '--include-method', 'GET', '--exclude-path', '/cluster/events', '--max-examples', '30', '--seed', '7', '--no-color', '--checks', CHECKS.join()],
    { cwd: folder(t), maxBuffer: 64 << 20, timeout: 120_000 },
  ).catch((error) => assert.fail(`${error.stdout?.slice(-6000)}\n${error.stderr ?? error.message}`));
  assert.match(stdout, /Tested: +10\b/);
});
