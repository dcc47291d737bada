'use strict';

// Published packages that only some tests need: installed in exact versions into .cache/packages.

const { execFile } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');
const { skip } = require('./skip');

const run = promisify(execFile);
/** Timeout of an installation, in milliseconds. */
const PATIENCE = 600_000;

const cache = path.resolve(__dirname, '..', '..', '.cache', 'packages');

/**
 * Resolves to a folder whose node_modules has these packages (versions by name), or to null if they cannot be
 * installed: the test `t` is then skipped. `scripts: false` disables the packages' install scripts; `overrides`: as in
 * package.json.
 *
 * @param {Record<string, string>} versions
 */
async function packages(t, versions, { scripts = true, overrides } = {}) {
  const wanted = Object.entries(versions).map(([name, version]) => `${name}@${version}`);
  const options = scripts ? [] : ['--ignore-scripts'];
  const key = [...wanted, ...options, ...(overrides ? [JSON.stringify(overrides)] : [])].join(' ');
  const root = JSON.stringify({ private: true, overrides });
  const folder = path.join(cache, createHash('sha256').update(key).digest('hex').slice(0, 16));
  if (fs.existsSync(path.join(folder, 'installed'))) return folder;
  // Several test files may install the same packages at the same time: the first to finish wins.
  const staging = `${folder}.${process.pid}`;
  fs.rmSync(staging, { recursive: true, force: true });
  fs.mkdirSync(staging, { recursive: true });
  fs.writeFileSync(path.join(staging, 'package.json'), `${root}\n`);
  try {
    await run('npm', ['install', '--prefix', staging, '--no-save', '--no-audit', '--no-fund', ...options, ...wanted], {
      timeout: PATIENCE,
      maxBuffer: Infinity,
    });
  } catch (error) {
    fs.rmSync(staging, { recursive: true, force: true });
    return skip(t, `${wanted.join(' ')} cannot be installed`, error);
  }
  fs.writeFileSync(path.join(staging, 'installed'), `${wanted.join('\n')}\n`);
  try {
    fs.renameSync(staging, folder);
  } catch (error) {
    if (!['EEXIST', 'ENOTEMPTY'].includes(error.code)) throw error;
    fs.rmSync(staging, { recursive: true, force: true });
  }
  return folder;
}

module.exports = { packages };
