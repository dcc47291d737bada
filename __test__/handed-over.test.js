'use strict';

// createServer({ app }) serves every kind of application, as a cluster and in one process.

const assert = require('node:assert/strict');
const path = require('node:path');
const { test } = require('node:test');
const { tlsEnvironment } = require('./helpers/certificate');
const { freePort, h2, request, tcp } = require('./helpers/http');
const { run } = require('./helpers/run');

const script = path.join(__dirname, 'fixtures', 'handed-over.js');

const overHttp = async (port) => (await request(port)).json();
const overHttps = async (port) => (await request(port, { secure: true })).json();

async function overTcp(port) {
  const connection = await tcp(port);
  const line = await connection.line();
  connection.close();
  return JSON.parse(line);
}

const kinds = {
  listener: overHttp,
  'listener, with TLS': overHttps,
  'http.Server': overHttp,
  'https.Server': overHttps,
  Http2Server: async (port) => (await h2(port)).json(),
  Http2SecureServer: async (port) => (await h2(port, { secure: true })).json(),
  'net.Server': overTcp,
  Express: overHttp,
  Koa: overHttp,
  Fastify: overHttp,
  Hono: overHttp,
  Nest: overHttp,
};

/** Connections one after the other; in turn, the second meets the second worker. */
const VISITS = 4;

async function visits(t, kind, env) {
  const port = await freePort();
  const program = run(t, script, { env: { KIND: kind, PORT: String(port), ...tlsEnvironment(t), ...env } });
  await program.until(new RegExp(`serves on ${port}`));
  const answers = [];
  for (let visit = 0; visit < VISITS; visit += 1) answers.push(await kinds[kind](port));
  assert.deepEqual([...new Set(answers.map((answer) => answer.kind))], [kind]);
  program.signal('SIGTERM');
  const { code } = await program.exit;
  await program.gone();
  return { program, answers, code };
}

for (const kind of Object.keys(kinds)) {
  test(`${kind}: two workers serve it`, async (t) => {
    const { program, answers, code } = await visits(t, kind, { CLUSTER_ENABLED: 'true' });
    assert.deepEqual([...new Set(answers.map(({ worker }) => worker))].sort(), ['0', '1'], JSON.stringify(answers));
    assert.ok(
      answers.every(({ pid }) => pid !== program.pid),
      JSON.stringify(answers),
    );
    assert.equal(code, 0, program.output);
  });

  test(`${kind}: without a cluster this process serves it`, async (t) => {
    const { program, answers } = await visits(t, kind, { CLUSTER_ENABLED: 'false' });
    assert.deepEqual([...new Set(answers.map(({ pid }) => pid))], [program.pid]);
  });
}
