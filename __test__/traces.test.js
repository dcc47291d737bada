'use strict';

// Every span of a load through three rolls arrives, none doubled. `npm run test:apps` tries all of __test__/apps/tracers.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { traced } = require('./apps/traced');

test('a roll loses no span of a tracer that sends what it has at the end', async (t) => {
  const result = await traced(t, require('./apps/tracers/elastic'));
  if (result === null) return;
  const { answered, output, ...wrong } = result;
  assert.ok(answered > 0);
  assert.deepEqual(wrong, { failed: 0, missing: 0, doubled: 0 }, output);
});
