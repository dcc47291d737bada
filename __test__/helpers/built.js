'use strict';

// Programs of published frameworks, built as their documentation describes.

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');
const { packages } = require('./packages');
const { folder } = require('./program');

/**
 * Writes a program and builds it; resolves to the path of the file that a worker runs, or null if its packages cannot
 * be installed. `versions`: of its packages; `files`: contents by name; `build`: the script that Node.js runs in its
 * folder; `main`: the file that a worker runs.
 */
async function built(t, { versions, files, build, main }, node) {
  const installed = await packages(t, versions);
  if (installed === null) return null;
  const place = path.join(folder(t), 'app');
  fs.mkdirSync(place);
  fs.symlinkSync(path.join(installed, 'node_modules'), path.join(place, 'node_modules'));
  fs.writeFileSync(path.join(place, 'package.json'), JSON.stringify({ private: true, type: build ? 'module' : 'commonjs' }));
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(place, name)), { recursive: true });
    fs.writeFileSync(path.join(place, name), text);
  }
  if (build) await promisify(execFile)(node, build, { cwd: place, env: { ...process.env, NODE_ENV: 'production' } });
  return path.join(place, main);
}

module.exports = { built };
