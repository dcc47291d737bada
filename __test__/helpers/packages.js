'use strict';

// Published packages that single tests need and the others do not: installed by name, in exactly these versions, and
// kept in .cache/packages.

const { execFile } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');
const { skip } = require('./skip');

const run = promisify(execFile);
/** Milliseconds that an installation may take. */
const PATIENCE = 600_000;

const cache = path.resolve(__dirname, '..', '..', '.cache', 'packages');

/**
 * A folder whose node_modules has these packages: names with their versions. Null when they cannot be had; the test `t`
 * is skipped then. `scripts: false` leaves out what packages run when they are installed, `overrides` are npm's.
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
  // Tests of several files may want the same packages at the same time: whoever is done first is right.
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
