'use strict';

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');

const run = promisify(execFile);

/** The real npm, with a home and a cache of its own. */
async function npm(port, folder, ...args) {
  const settings = [`--registry=http://127.0.0.1:${port}`, `--cache=${folder}/cache`, `--userconfig=${folder}/npmrc`, '--no-audit', '--no-fund', '--loglevel=error'];
  const { stdout } = await run('npm', [...args, ...settings], { cwd: folder, timeout: 60_000 });
  return stdout;
}

module.exports = {
  versions: { verdaccio: '6.10.4' },
  // A dependency names a tag that not every registry has.
  overrides: { 'node-fetch': '2.7.0' },
  node: 22,
  bin: 'verdaccio',
  files: {
    'config.yaml': [
      'storage: ./storage',
      'auth: { htpasswd: { file: ./htpasswd } }',
      'uplinks: {}',
      "packages: { '**': { access: $all, publish: $anonymous, unpublish: $anonymous } }",
      'log: { type: stdout, format: json, level: info }',
      'server: { keepAliveTimeout: 60 }',
    ].join('\n'),
  },
  // It handles signals when it is asked to.
  env: () => ({ VERDACCIO_HANDLE_KILL_SIGNALS: 'true' }),
  args: ({ port, host }) => ['--config', 'config.yaml', '--listen', `http://${host}:${port}`],
  varies: ['etag', 'x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset', 'ratelimit', 'ratelimit-policy'],
  ask: async ({ get }) => [await get('/-/ping'), await get('/nowhere')],
  /** Publishes a package with npm and installs it again. */
  once: async ({ port }) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drover-npm-'));
    try {
      const name = `p${process.pid}-${Date.now()}`;
      fs.writeFileSync(path.join(folder, 'npmrc'), `//127.0.0.1:${port}/:_authToken=none\n`);
      fs.writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name, version: '1.0.0' }));
      await npm(port, folder, 'publish');
      const version = JSON.parse(await npm(port, folder, 'view', name, 'version', '--json'));
      fs.mkdirSync(path.join(folder, 'user'));
      fs.writeFileSync(path.join(folder, 'user', 'package.json'), '{ "private": true }');
      await npm(port, folder, 'install', name, '--prefix', path.join(folder, 'user'));
      return { version, installed: fs.existsSync(path.join(folder, 'user', 'node_modules', name, 'package.json')) };
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
  },
  says: /200.*404/,
  hook: /server closed\./,
};
