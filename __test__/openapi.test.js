'use strict';

// The monitoring API keeps to its own description: schemathesis makes requests out of /openapi.json, good ones and bad
// ones, and compares every answer with it. What a good POST does is bounded by a copy of the document: a few workers, a
// profile of a second. The stream of events, which has no end, is in error-groups.test.js.

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { promisify } = require('node:util');
const { freePort, request } = require('./helpers/http');
const { monitoringUrl } = require('./helpers/monitoring');
const { failureCluster, folder } = require('./helpers/program');
const { python } = require('./helpers/python');

const CHECKS = ['not_a_server_error', 'status_code_conformance', 'content_type_conformance', 'response_schema_conformance'];
const TOKEN = 'a token of some length';

/** A cluster, and its API under schemathesis: `held(document, options)` resolves to what that printed when all holds. */
async function examined(t) {
  const interpreter = await python(t, 'schemathesis==4.32.5');
  if (interpreter === null) return null;
  // Heap snapshots and profiles are written beside the program.
  const cwd = folder(t);
  const cluster = failureCluster(t, { port: await freePort(), config: { monitoring: { port: 0, token: TOKEN } }, cwd });
  const api = await monitoringUrl(cluster);
  await cluster.until(/the cluster is ready/);
  const document = (await request(Number(new URL(api).port), { path: '/openapi.json' })).json();
  const held = async (description, options) => {
    const file = path.join(cwd, 'openapi.json');
    fs.writeFileSync(file, JSON.stringify(description));
    const fixed = ['--url', api, '--header', `Authorization: Bearer ${TOKEN}`, '--seed', '7', '--request-timeout', '60', '--no-color', '--checks', CHECKS.join()];
    const all = ['run', file, ...fixed, ...options, '--suppress-health-check', 'all'];
    const st = path.join(path.dirname(interpreter), 'st');
    const { stdout } = await promisify(execFile)(st, all, { cwd, maxBuffer: 64 << 20, timeout: 150_000 }).catch((error) =>
      assert.fail(`${error.stdout?.slice(-6000)}\n${error.stderr ?? error.message}`),
    );
    return stdout;
  };
  return { document, held, cluster };
}

test('every response of the monitoring API is described by its OpenAPI document', async (t) => {
  const made = await examined(t);
  if (made === null) return;
  const options = ['--include-method', 'GET', '--exclude-path', '/cluster/events', '--max-examples', '30'];
  assert.match(await made.held(made.document, options), /Tested: +12\b/);
});

test('an invalid POST is answered as documented', async (t) => {
  const made = await examined(t);
  if (made === null) return;
  const options = ['--include-method', 'POST', '--mode', 'negative', '--phases', 'coverage,fuzzing', '--max-examples', '20'];
  assert.match(await made.held(made.document, options), /Tested: +6\b/);
});

test('a valid POST is answered as documented', async (t) => {
  const made = await examined(t);
  if (made === null) return;
  const { paths } = made.document;
  paths['/cluster/scale'].post.requestBody.content['application/json'].schema.properties.workers.maximum = 3;
  for (const what of ['restart', 'heap-snapshot', 'cpu-profile']) {
    const { parameters } = paths[`/cluster/workers/{id}/${what}`].post;
    Object.assign(parameters.find(({ name }) => name === 'id').schema, { enum: ['0', '1', '7'] });
    const seconds = parameters.find(({ name }) => name === 'seconds');
    if (seconds) Object.assign(seconds, { required: true, schema: { enum: [1] } });
  }
  const options = ['--include-method', 'POST', '--mode', 'positive', '--phases', 'coverage,fuzzing', '--max-examples', '4'];
  assert.match(await made.held(made.document, options), /Tested: +6\b/);
});
