'use strict';

// Updates node_modules to package-lock.json automatically.

const fs = require('node:fs');
const path = require('node:path');
const { root, run } = require('./child');
const { Trouble, headline } = require('./terminal');

const modified = (file) => fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** npm stores its own copy of the lock file in node_modules: if it is older than ours, node_modules is outdated. */
function isInstalled() {
  const installed = modified(path.join(root, 'node_modules', '.package-lock.json'));
  return installed > 0 && installed >= modified(path.join(root, 'package-lock.json'));
}

/** The npm that started this script, or else the one on the PATH. */
function npm(args) {
  const cli = process.env.npm_execpath;
  return cli?.endsWith('.js') ? run(process.execPath, [cli, ...args]) : run('npm', args);
}

/** `npm ci` first empties node_modules; through a link that would be another project's. */
function refuseLink() {
  const folder = path.join(root, 'node_modules');
  if (!fs.lstatSync(folder, { throwIfNoEntry: false })?.isSymbolicLink()) return;
  throw new Trouble(
    `node_modules is a link to ${fs.readlinkSync(folder)} and out of date. Remove the link; nothing was changed.`,
  );
}

async function install() {
  if (isInstalled()) return;
  refuseLink();
  headline('npm ci (node_modules is missing or older than package-lock.json)');
  const { code } = await npm(['ci', '--no-audit', '--no-fund', '--loglevel=error']).catch((error) => {
    throw new Trouble(`npm could not be started (${error.message}). It comes with Node.js: https://nodejs.org`);
  });
  if (code !== 0) {
    throw new Trouble(
      'npm ci failed; its own words are above. Most often the network or a proxy: `npm ping` tells. Nothing was built.',
    );
  }
}

module.exports = { install, npm };
