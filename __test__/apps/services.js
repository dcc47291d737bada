'use strict';

// Servers that the tested programs need.

const { execFile, execFileSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { text } = require('node:stream/consumers');
const { promisify } = require('node:util');
const { freePort } = require('../helpers/http');
const debian = require('../helpers/debian');
const { folder } = require('../helpers/program');
const { run } = require('../helpers/run');
const { skip } = require('../helpers/skip');

/** The program of a Debian package: the installed one, else installed now if packages may be installed. `find` looks for it. */
async function found(name, find) {
  return find() ?? (debian.mayInstall() ? debian.fromDebian(name, find) : undefined);
}

/** Debian installs PostgreSQL outside the PATH, one folder per version. */
function postgresPrograms() {
  const all = '/usr/lib/postgresql';
  const versions = fs.existsSync(all) ? fs.readdirSync(all).sort((a, b) => b - a) : [];
  return versions.map((version) => path.join(all, version, 'bin')).find((bin) => debian.isProgram(path.join(bin, 'initdb')));
}

/** { uid, gid } of an unprivileged user, because PostgreSQL refuses to run as root; empty if this process is not root. */
function postgresUser() {
  if (process.getuid() !== 0) return {};
  const [uid, gid] = ['-u', '-g'].map((of) => Number(execFileSync('id', [of, 'postgres'], { encoding: 'utf8' })));
  return { uid, gid };
}

const starts = {
  /** An HTTP server that echoes the request. */
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
  /** Starts Redis, from Debian's packages. */
  redis: async (t) => {
    const server = await found('redis-server', () => debian.installed('redis-server'));
    if (server === undefined) return skip(t, 'there is no redis-server');
    const port = await freePort();
    const settings = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    const running = run(t, settings[0], { node: server, args: settings.slice(1) });
    await running.until(/Ready to accept connections/);
    return { port };
  },
  /** Starts PostgreSQL, from Debian's packages; every local user is a superuser. */
  postgres: async (t) => {
    const bin = await found('postgresql', postgresPrograms);
    if (bin === undefined) return skip(t, 'there is no PostgreSQL');
    const user = postgresUser();
    const place = folder(t);
    if (user.uid !== undefined) fs.chownSync(place, user.uid, user.gid);
    const data = path.join(place, 'data');
    const settings = ['-D', data, '--auth=trust', '--username=postgres', '--no-sync', '--no-instructions'];
    await promisify(execFile)(path.join(bin, 'initdb'), settings, { ...user, cwd: place });
    const port = await freePort();
    const running = run(t, '-D', { node: path.join(bin, 'postgres'), args: [data, '-p', String(port), '-h', '127.0.0.1', '-k', place, '-F'], cwd: place, ...user });
    await running.until(/ready to accept connections/);
    return { url: `postgres://postgres@127.0.0.1:${port}/postgres` };
  },
};

/** Starts the services that the program needs; resolves to their addresses by name, or to null if one is unavailable. */
async function serve(t, { needs = [] }) {
  const services = {};
  for (const name of needs) {
    services[name] = await starts[name](t);
    if (services[name] === null) return null;
  }
  return services;
}

module.exports = { serve };
