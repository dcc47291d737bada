'use strict';

// The monitoring API keeps to its own description: schemathesis makes requests out of /openapi.json, good ones and bad
// ones, and compares every answer with it. Sizes are kept small.

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { promisify } = require('node:util');
const { freePort } = require('./helpers/http');
const { everyday, folder } = require('./helpers/program');
const { python } = require('./helpers/python');

/** A cluster of a thousand workers is a valid request, and no test. */
const SMALL = `
import schemathesis

@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict) and isinstance(body.get('workers'), (int, float)) and body['workers'] > 3:
        return {**body, 'workers': 3 if body['workers'] <= 1024 else 1025}
    return body
`;

const CHECKS = ['not_a_server_error', 'status_code_conformance', 'content_type_conformance', 'response_schema_conformance'];

test('no answer of the monitoring API is one that its OpenAPI document does not know', async (t) => {
  const interpreter = await python(t, 'schemathesis==4.32.5');
  if (interpreter === null) return;
  const cluster = everyday(t, { port: await freePort(), config: { monitoring: { port: 0 } } });
  const [, api] = await cluster.until(/Monitoring API on (http:\/\/127\.0\.0\.1:\d+)/);
  await cluster.until(/the cluster is ready/);
  const place = folder(t);
  fs.writeFileSync(path.join(place, 'small.py'), SMALL);
  const { stdout } = await promisify(execFile)(
    path.join(path.dirname(interpreter), 'st'),
    ['run', `${api}/openapi.json`, '--max-examples', '15', '--seed', '7', '--no-color', '--checks', CHECKS.join()],
    { cwd: place, env: { ...process.env, SCHEMATHESIS_HOOKS: 'small', PYTHONPATH: place }, maxBuffer: 64 << 20, timeout: 150_000 },
  ).catch((error) => assert.fail(`${error.stdout?.slice(-6000)}\n${error.stderr ?? error.message}`));
  assert.match(stdout, /Tested: {6,}9/);
});
