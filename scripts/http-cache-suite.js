'use strict';

// npm run test:http-cache -- FOLDER: runs http-tests/cache-tests, a checkout of which is in FOLDER (not part of drover),
// against drover/http-cache before an application that passes requests on to the suite's origin.
//
// The tests that fail are listed by kind. The last line of the output is JSON: passed and failed of the required and the
// optional tests, and the required ones that fail although they are not known to.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { createServer } = require('..');
const { httpCache } = require('../lib/adapters/http-cache');
const { Trouble, main, say } = require('./support/terminal');

/** Required tests that fail, and why. */
const KNOWN = [
  [/^cdn-/, 'CDN-Cache-Control (RFC 9213) is not supported'],
  [/^headers-store-Content-Length$/, 'Node.js sends no wrong Content-Length'],
  [/^headers-store-Set-Cookie$/, 'Set-Cookie is stored only with public'],
  [/^partial-/, 'ranges are left to the handlers'],
];

/** Fields that a proxy does not pass on. */
const HOP = ['connection', 'keep-alive', 'proxy-connection', 'te', 'transfer-encoding', 'upgrade'];

/** Fields without those of one connection. @param {string[]} raw */
function passedOn(raw) {
  const fields = {};
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at].toLowerCase();
    fields[name] = name in fields ? [fields[name], raw[at + 1]].flat() : raw[at + 1];
  }
  const named = [fields.connection ?? []].flat().flatMap((text) => text.split(',')).map((name) => name.trim().toLowerCase());
  for (const name of [...HOP, ...named]) delete fields[name];
  return fields;
}

/** @param {number} origin its port */
async function startCache(origin) {
  const app = createServer({ cluster: { enabled: false } });
  const agent = new http.Agent({ keepAlive: true });
  app.disable('x-powered-by');
  app.use(httpCache(app, { heuristic: 0.1 }));
  app.use((request, response) => {
    const { method, originalUrl, headers } = request;
    const asked = Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP.includes(name) || name === 'transfer-encoding'));
    const outgoing = http.request({ port: origin, host: 'localhost', method, path: originalUrl, headers: asked, agent });
    outgoing.on('response', (incoming) => {
      response.statusMessage = incoming.statusMessage;
      response.writeHead(incoming.statusCode, passedOn(incoming.rawHeaders));
      incoming.pipe(response);
    });
    outgoing.on('information', ({ statusCode, headers: early }) => {
      if (statusCode === 102) response.writeProcessing();
      if (statusCode === 103) response.writeEarlyHints(early);
    });
    outgoing.on('error', () => (response.headersSent ? response.destroy() : response.writeHead(502).end()));
    request.pipe(outgoing);
  });
  await app.start(0, '127.0.0.1');
  return app;
}

async function freePort() {
  const server = http.createServer();
  await once(server.listen(0), 'listening');
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

main(async () => {
  const [folder] = process.argv.slice(2);
  const engine = path.join(folder ?? '', 'test-engine');
  if (folder === undefined || !fs.existsSync(engine)) throw new Trouble('Give the folder of a checkout of http-tests/cache-tests.');
  const suite = (name) => import(pathToFileURL(path.join(path.resolve(folder), name)).href);
  const port = await freePort();
  const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'drover-http-cache-'));
  const env = { ...process.env, npm_config_protocol: 'http', npm_config_port: String(port), npm_config_pidfile: path.join(temporary, 'pid') };
  const origin = spawn(process.execPath, ['test-engine/server/server.mjs'], { cwd: folder, env, stdio: ['ignore', 'pipe', 'ignore'] });
  const app = await startCache(port);
  try {
    await once(origin.stdout, 'data');
    origin.stdout.resume();
    const { default: suites } = await suite('tests/index.mjs');
    const { runTests, getResults } = await suite('test-engine/client/runner.mjs');
    const { determineTestResult, resultTypes } = await suite('test-engine/lib/results.mjs');
    await runTests(suites, false, `http://127.0.0.1:${app.address().port}`);
    const results = getResults();
    const figures = { required: { passed: 0, failed: 0 }, optimal: { passed: 0, failed: 0 }, unexpected: [] };
    for (const { id, kind = 'required' } of suites.flatMap(({ tests }) => tests)) {
      if (!(id in results) || kind === 'check') continue;
      const isPassed = determineTestResult(suites, id, results, false) === resultTypes.pass;
      figures[kind][isPassed ? 'passed' : 'failed'] += 1;
      if (isPassed) continue;
      const [, why] = KNOWN.find(([name]) => name.test(id)) ?? [];
      say(`${kind} ${id}: ${results[id][1]}${why === undefined ? '' : ` (${why})`}`);
      if (kind === 'required' && why === undefined) figures.unexpected.push(id);
    }
    say(JSON.stringify(figures));
    return figures.unexpected.length > 0 ? 1 : 0;
  } finally {
    origin.kill();
    await app.stopCluster();
    fs.rmSync(temporary, { recursive: true });
  }
});
