'use strict';

// Programs of the machine's, and Debian's packages of them where they may be installed.

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');

const run = promisify(execFile);

/** Milliseconds that an installation may take. */
const PATIENCE = 300_000;

const isProgram = (file) => {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

/** The path of the first of these programs that the PATH has, or undefined. */
function installed(...names) {
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  return names.flatMap((name) => folders.map((folder) => path.join(folder, name))).find(isProgram);
}

/** Whether this process may install packages. */
const mayInstall = () => process.getuid() === 0 && isProgram('/usr/bin/apt-get');

/** Installs a package; resolves to the path of the program of its name. */
async function fromDebian(name) {
  const options = { timeout: PATIENCE, env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
  await run('apt-get', ['update', '--quiet'], options);
  await run('apt-get', ['install', '--yes', '--quiet', '--no-install-recommends', name], options);
  const found = installed(name);
  if (found === undefined) throw new Error(`the package ${name} brought no ${name}`);
  return found;
}

module.exports = { PATIENCE, fromDebian, installed, isProgram, mayInstall };
