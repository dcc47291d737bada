'use strict';

// Servers that programs need beside them.

const { once } = require('node:events');
const http = require('node:http');
const { text } = require('node:stream/consumers');
const { freePort } = require('../helpers/http');
const debian = require('../helpers/debian');
const { run } = require('../helpers/run');
const { skip } = require('../helpers/skip');

const starts = {
  /** An HTTP server that says what it was asked. */
  echo: async (t) => {
    const server = http.createServer(async (request, response) => {
      response.end(`${request.method} ${request.url} ${await text(request)}`);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.after(() => {
      server.close();
      server.closeAllConnections();
    });
    return { port: server.address().port };
  },
  /** Redis, from Debian's packages. */
  redis: async (t) => {
    const server = debian.installed('redis-server') ?? (debian.mayInstall() ? await debian.fromDebian('redis-server') : undefined);
    if (server === undefined) return skip(t, 'there is no redis-server');
    const port = await freePort();
    const settings = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    const running = run(t, settings[0], { node: server, args: settings.slice(1) });
    await running.until(/Ready to accept connections/);
    return { port };
  },
};

/** Starts what the program needs; resolves to where each is, by its name, or null when one cannot be had. */
async function serve(t, { needs = [] }) {
  const services = {};
  for (const name of needs) {
    services[name] = await starts[name](t);
    if (services[name] === null) return null;
  }
  return services;
}

module.exports = { serve };
