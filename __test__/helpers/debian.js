'use strict';

// Installed programs, and Debian packages where packages may be installed.

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');

const run = promisify(execFile);

/** Timeout of an installation, in milliseconds. */
const PATIENCE = 300_000;

const isProgram = (file) => {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

/** The path of the first of these programs on the PATH, or undefined. */
function installed(...names) {
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  return names.flatMap((name) => folders.map((folder) => path.join(folder, name))).find(isProgram);
}

/** Whether this process may install packages. */
const mayInstall = () => process.getuid() === 0 && isProgram('/usr/bin/apt-get');

/** Runs a shell script with arguments under a lock: several test files may install packages at the same time. */
async function alone(text, args, options) {
  const lock = path.join(os.tmpdir(), `drover-tests-${process.getuid()}.lock`);
  await run('flock', [lock, 'sh', '-ec', text, 'sh', ...args], { timeout: PATIENCE, ...options });
}

/** Installs a package; resolves to the result of `find` (default: the path of the program with the package's name). */
async function fromDebian(name, find = () => installed(name)) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  await alone('apt-get update --quiet; apt-get install --yes --quiet --no-install-recommends "$1"', [name], { env });
  const found = find();
  if (found === undefined) throw new Error(`the package ${name} contains no ${name}`);
  return found;
}

module.exports = { PATIENCE, alone, fromDebian, installed, isProgram, mayInstall };
