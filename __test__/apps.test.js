'use strict';

// Published programs as their users deploy them: what one process answers a cluster answers, a roll loses no request, a
// killed worker costs only its own connections, every process that served runs the program's own shutdown, an idle stop
// is as short, and nothing at warn or above is logged that one process does not cause. `npm run test:apps` tries all of
// __test__/apps/programs; these ten are small to install.

const assert = require('node:assert/strict');
const { describe, it } = require('node:test');
const { faults, trial } = require('./apps/trial');

const chosen = ['express', 'fastify', 'koa', 'hapi', 'apollo', 'nest-express', 'trpc', 'feathers', 'http-server', 'serve'];

describe('published programs', { concurrency: 2 }, () => {
  for (const name of chosen) {
    it(`${name} behaves under drover as in a single process`, async (t) => {
      const program = require(`./apps/programs/${name}`);
      const result = await trial(t, program, { pairs: 1 });
      if (result !== null) assert.equal(faults(result), null, result.output);
    });
  }
});
