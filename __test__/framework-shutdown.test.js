'use strict';

// Frameworks that close their server themselves when the process is to end: in a worker too their own way works to its
// end, without an error, in a roll and in a stop. Each is the published package, used as its documents say.

const assert = require('node:assert/strict');
const path = require('node:path');
const { test } = require('node:test');
const { built } = require('./helpers/built');
const { freePort, keepAlive } = require('./helpers/http');
const { findNode } = require('./helpers/nodes');
const { run } = require('./helpers/run');

const managed = require.resolve('./fixtures/managed.js');

/** `files` of a program, by their names; `build` is run by Node in its folder; `main` is what a worker runs. */
const frameworks = {
  Hono: {
    versions: { hono: '4.13.19', '@hono/node-server': '2.1.9' },
    main: 'server.mjs',
    files: {
      'server.mjs': `
        import { serve } from '@hono/node-server';
        import { Hono } from 'hono';
        const app = new Hono().get('/', (c) => c.text('served'));
        const server = serve({ fetch: app.fetch, port: Number(process.env.PORT), hostname: '127.0.0.1' });
        process.on('SIGTERM', () => {
          server.close((error) => {
            if (error) console.error(error);
            else console.log('CLEANED');
            process.exit(error ? 1 : 0);
          });
        });`,
    },
  },
  Feathers: {
    versions: { '@feathersjs/feathers': '5.0.50', '@feathersjs/express': '5.0.50' },
    main: 'server.js',
    files: {
      'server.js': `
        const { feathers } = require('@feathersjs/feathers');
        const express = require('@feathersjs/express');
        const app = express.default(feathers());
        app.get('/', (request, response) => response.send('served'));
        app.listen(Number(process.env.PORT), '127.0.0.1');
        process.on('SIGTERM', async () => {
          await app.teardown();
          console.log('CLEANED');
          process.exit(0);
        });`,
    },
  },
  LoopBack: {
    versions: { '@loopback/rest': '15.0.16', '@loopback/core': '7.0.15' },
    main: 'server.js',
    files: {
      'server.js': `
        const { RestApplication } = require('@loopback/rest');
        const app = new RestApplication({ rest: { port: Number(process.env.PORT), host: '127.0.0.1' } });
        app.handler(({ response }) => response.end('served'));
        app.onStop(() => console.log('CLEANED'));
        app.start();`,
    },
  },
  restify: {
    node: 22,
    versions: { restify: '12.0.0' },
    main: 'server.js',
    files: {
      'server.js': `
        const restify = require('restify');
        const server = restify.createServer();
        server.get('/', (request, response, next) => {
          response.sendRaw('served');
          next();
        });
        server.listen(Number(process.env.PORT), '127.0.0.1');
        process.on('SIGTERM', () => {
          server.close((error) => {
            console.log(error ? error.code : 'CLEANED');
            process.exit(error ? 1 : 0);
          });
        });`,
    },
  },
  Nitro: {
    versions: { nitropack: '2.13.6' },
    build: ['node_modules/nitropack/dist/cli/index.mjs', 'build'],
    main: '.output/server/index.mjs',
    files: {
      'nitro.config.js': "export default { preset: 'node-server', srcDir: 'server', compatibilityDate: '2026-01-01' };",
      'server/routes/index.js': "export default defineEventHandler(() => 'served');",
      'server/plugins/end.js': `
        export default defineNitroPlugin((nitro) => {
          nitro.hooks.hook('close', () => console.log('CLEANED'));
        });`,
    },
  },
  SvelteKit: {
    node: 22,
    versions: {
      '@sveltejs/kit': '3.2.0',
      '@sveltejs/adapter-node': '6.0.1',
      '@sveltejs/vite-plugin-svelte': '7.3.1',
      svelte: '5.57.3',
      vite: '8.4.0',
    },
    build: ['node_modules/vite/bin/vite.js', 'build'],
    main: 'build/index.js',
    files: {
      'vite.config.js': `
        import adapter from '@sveltejs/adapter-node';
        import { sveltekit } from '@sveltejs/kit/vite';
        export default { plugins: [sveltekit({ adapter: adapter() })] };`,
      'src/app.html': '<html><head>%sveltekit.head%</head><body>%sveltekit.body%</body></html>',
      'src/routes/+server.js': "export const GET = () => new Response('served');",
      'src/hooks.server.js': "process.on('sveltekit:shutdown', (reason) => console.log('CLEANED', reason));",
    },
  },
};

for (const [name, framework] of Object.entries(frameworks)) {
  test(`${name} closes its server in its own way and cleans up, in a roll and in a stop`, async (t) => {
    const node = framework.node === undefined ? process.execPath : (await findNode(framework.node)).path;
    const file = await built(t, framework, node);
    if (file === null) return;
    const port = await freePort();
    const cluster = run(t, managed, {
      node,
      args: [file],
      cwd: path.dirname(file),
      env: { PORT: String(port), HOST: '127.0.0.1', CLUSTER_CONFIG: JSON.stringify({ workers: 1 }) },
    });
    await cluster.until(/the cluster is ready/);
    const client = keepAlive(port);
    t.after(() => client.close());
    assert.equal((await client.request()).body, 'served');
    cluster.signal('SIGUSR2');
    await cluster.until(/CLEANED/);
    await cluster.event('command:done', { command: 'restartCluster' });
    assert.equal((await client.request()).body, 'served');
    cluster.signal('SIGTERM');
    assert.deepEqual(await cluster.exit, { code: 0, signal: null }, cluster.output);
    await cluster.gone();
    assert.equal(cluster.stdout.match(/CLEANED/g).length, 2, cluster.output);
    assert.equal(cluster.events('worker:exit', { worker: '0', reason: 'stopped', exitCode: 0 }).length, 2, cluster.output);
    assert.deepEqual(cluster.events('worker:lingered'), []);
    assert.doesNotMatch(cluster.output, /ERR_SERVER_NOT_RUNNING/);
  });
}
